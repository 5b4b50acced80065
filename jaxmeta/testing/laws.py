"""What every meta-learner owes its users, as a list of checks that explain themselves.

Run them on your own learner: `jaxmeta.testing.check_learner(my_learner, task)`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from jaxmeta import train
from jaxmeta.core import Batch, Episode, Meta, Objective
from jaxmeta.testing.subject import (
    TASKS,
    Subject,
    by_numpy,
    distance,
    need,
    nth,
    padded,
    predict,
)


def init_is_abstract(s: Subject) -> str:
    """1. `jax.eval_shape` of `init` works, agrees with `init`, and has no weak types."""
    shapes = jax.eval_shape(s.learner.init, s.key, s.episode)
    same = jax.tree.structure(shapes) == jax.tree.structure(s.meta)
    need(same, f"init: eval_shape gives {shapes}, init gives another tree")
    for path, leaf in jax.tree_util.tree_leaves_with_path(shapes):
        name = jax.tree_util.keystr(path)
        need(
            not leaf.weak_type,
            f"init: {name} is weakly typed, and every second call compiles anew; "
            "give it a dtype",
        )
    return f"{sum(x.size for x in jax.tree.leaves(s.meta.params))} parameters"


def outputs_have_target_shape(s: Subject) -> str:
    """2. `predict` after `adapt` has the shape of the query targets."""
    support, query = s.episode

    def outputs(meta, key):  # as they are: a criterion would refuse another shape
        fast = s.learner.adapt(meta, support, key)
        return s.learner.predict(meta, fast, query.inputs)

    got, want = jax.eval_shape(outputs, s.meta, s.key).shape, query.targets.shape
    need(got == want, f"predict: got shape {got}, wants that of the targets {want}")
    return str(got)


def loss_and_gradient_are_finite(s: Subject) -> str:
    """3. The loss is finite; its gradient has the tree of `params` and is finite."""
    value, _, grads = s.value_and_grad(s.meta, s.episode, s.key)
    need(bool(np.isfinite(value)), f"loss: got {value}, wants a finite number")
    need(value.shape == (), f"loss: got shape {value.shape}, wants a scalar")
    same = jax.tree.structure(grads) == jax.tree.structure(s.meta.params)
    need(same, "gradient: its tree differs from that of params")
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        name = jax.tree_util.keystr(path)
        need(bool(np.isfinite(leaf).all()), f"gradient: not finite in {name}")
    norm = sum(float(np.square(x).sum()) for x in jax.tree.leaves(grads)) ** 0.5
    return f"loss {float(value):.4g}, |grad| {norm:.3g}"


def vmap_is_a_loop(s: Subject) -> str:
    """4. `vmap(loss)` over tasks equals a Python loop."""
    keys = jax.random.split(s.key, TASKS)
    episodes = nth(s.episodes, slice(TASKS))
    together = nth(s.many(s.meta, episodes, keys), slice(3))
    loop = [s.value_and_grad(s.meta, nth(episodes, i), keys[i]) for i in range(3)]
    gap = distance(together, jax.tree.map(lambda *x: np.stack(x), *loop))
    need(gap <= s.options["atol"], f"vmap: differs from a loop over tasks by {gap:.2e}")
    return f"differ by {gap:.1e}"


def jit_is_eager(s: Subject) -> str:
    """5. The compiled loss, its metrics and buffers equal the eager ones."""
    args = (s.meta, s.episode, s.key)
    gap = distance(s.value_and_grad(*args)[:2], s.learner.loss(*args))
    need(gap <= s.options["atol"], f"jit: differs from eager by {gap:.2e}")
    return f"differ by {gap:.1e}"


def no_second_compilation(s: Subject) -> str:
    """6. `step(step(state))` compiles once: a state has the types of the state before."""
    meta, episode = s.began
    trainer = train.make_trainer(train.episodic(s.learner), s.options["tx"])
    start = train.TrainState(
        meta, s.options["tx"].init(meta.params), jnp.zeros((), "int32")
    )
    batch = by_numpy(lambda x: np.stack([x, x]), episode)
    after = jax.eval_shape(trainer.step, start, batch, s.key)[0]
    before = jax.eval_shape(lambda x: x, start)
    same = jax.tree.structure(after) == jax.tree.structure(before)
    need(same, "step: the state after it is another tree than the state before")
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after), strict=True
    ):
        name, types = (
            jax.tree_util.keystr(path),
            [f"{x.dtype}{list(x.shape)}" + " weakly" * x.weak_type for x in (a, b)],
        )
        need(
            types[0] == types[1],
            f"step: {name} goes in as {types[0]}, out as {types[1]}",
        )
    return "the same types"


def same_key_same_value(s: Subject) -> str:
    """7. The same key gives the same value, bit for bit; another, other dropout masks."""
    first, second = (s.value_and_grad(s.meta, s.episode, s.key) for _ in range(2))
    need(distance(first, second) == 0.0, "key: the same key gave two different values")
    if not s.options["dropout"]:
        return "bit for bit"
    other = s.value_and_grad(s.meta, s.episode, jax.random.fold_in(s.key, 1))
    moved = distance(first[0], other[0])
    need(moved > 0, "key: another key gave the same loss, and the network drops out")
    return f"bit for bit; another key moves the loss by {moved:.1e}"


def support_order_is_irrelevant(s: Subject) -> str:
    """8. Permuting the support set changes no prediction."""
    n = s.episode.support.targets.shape[0]
    # the first row goes last: no order of chance that leaves it, or all, in place
    order = np.append(1 + np.random.default_rng(0).permutation(n - 1), 0)
    moved = nth(s.episode.support, order)
    gap = distance(predict(s, s.episode._replace(support=moved)), predict(s, s.episode))
    need(gap <= s.options["atol"], f"support: its order moves predictions by {gap:.2e}")
    return f"moves by {gap:.1e}"


def padding_is_invisible(s: Subject) -> str:
    """9. Rows of weight 0 change nothing: no loss, gradient, buffer or prediction."""
    more = Episode(*map(padded, s.episode))
    return _same(s, more, s.episode, "padding")


def weights_are_copies(s: Subject) -> str:
    """14. A row of weight 2 is two rows."""

    def twice(batch: Batch) -> tuple[Batch, Batch]:
        n = len(batch.targets)
        weights = np.ones(n, batch.targets.dtype)
        weights[1] = 2.0
        copied = nth((batch.inputs, batch.targets), np.append(np.arange(n), 1))
        # both padded to the shape of law 9, whose program is compiled already
        weighed = batch._replace(weights=jax.device_put(weights))
        return padded(weighed), padded(Batch(*copied), 1)

    (support, more_support), (query, more_query) = map(twice, s.episode)
    weighed = Episode(support, query)
    return _same(s, weighed, Episode(more_support, more_query), "weights")


def _same(s: Subject, one: Episode, other: Episode, what: str) -> str:
    """That two episodes with the same queries first give the same in everything."""
    n = len(s.episode.query.targets)
    gap = distance(predict(s, one)[:n], predict(s, other)[:n])
    need(gap <= s.options["atol"], f"{what}: moves predictions by {gap:.2e}")
    if s.options["random_loss"]:
        return f"moves predictions by {gap:.1e}"
    found = (s.value_and_grad(s.meta, episode, s.key) for episode in (one, other))
    for name, a, b in zip(
        ("loss", "metrics and buffers", "gradient"), *found, strict=True
    ):
        here = distance(a, b)
        need(here <= s.options["atol"], f"{what}: moves the {name} by {here:.2e}")
        gap = max(gap, here)
    return f"moves by {gap:.1e}"


def nan_is_no_score(s: Subject) -> str:
    """15. NaN parameters never score as a number."""
    broken = by_numpy(lambda x: x * np.asarray(np.nan, x.dtype), s.meta.params)
    if not jax.tree.leaves(broken):
        return "no parameters"
    scores = _scores(s, s.meta._replace(params=broken), s.episodes)
    need(
        bool(np.isnan(scores).all()),
        f"score: got {scores[:3]} of NaN parameters, wants NaN",
    )
    return "nan"


def classes_are_exchangeable(s: Subject) -> str:
    """10. Permuting the class columns permutes the predictions alike."""

    def rolled(batch: Batch) -> Batch:
        targets = by_numpy(lambda x: np.roll(x, 1, 1), batch.targets)
        return batch._replace(targets=targets)

    moved = Episode(*map(rolled, s.episode))
    gap = distance(predict(s, moved), np.roll(predict(s, s.episode), 1, 1))
    need(gap <= s.options["atol"], f"classes: not equivariant, by {gap:.2e}")
    return f"differ by {gap:.1e}"


def _scores(s: Subject, meta: Meta, episodes: Episode) -> np.ndarray:
    keys = jax.random.split(s.key, len(episodes.query.targets))
    return np.asarray(s.score(meta, episodes, keys))


def it_learns(s: Subject) -> str:
    """11. A few outer steps improve the score on new tasks, in pairs."""
    better = 1 if s.options["classification"] else -1
    # Tasks are drawn beforehand, by the program that drew the test tasks, and gradients
    # come from that of law 4: in a loop they would be compiled again, which takes longer.
    steps, tx = s.options["train_steps"], s.options["tx"]
    draws = -(-steps * TASKS // len(s.episodes.query.targets))
    parts = [s.draw(key) for key in jax.random.split(s.key, draws)]
    pool = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    keys = jax.random.split(s.key, steps * TASKS).reshape(steps, TASKS)
    chosen = np.random.default_rng(0).integers(
        0, len(pool.query.targets), (steps, TASKS)
    )

    @jax.jit
    def step(state, found):
        value, aux, grads = jax.tree.map(lambda x: x.mean(0), found)
        objective = Objective(s.learner.init, lambda *_: ((value, aux), grads))
        return train.make_trainer(objective, tx).step(state, None, s.key)[0]

    state = train.TrainState(s.meta, tx.init(s.meta.params), jnp.zeros((), "int32"))
    for rows, key in zip(chosen, keys, strict=True):
        state = step(state, s.many(state.meta, nth(pool, rows), key))
    before, after = (_scores(s, m, s.episodes) for m in (s.meta, state.meta))
    gain, half = train.interval(better * (after - before))
    text = f"{before.mean():.3f} -> {after.mean():.3f}, paired gain {gain:.3f} ± {half:.3f}"
    need(gain > half, f"learning: no gain on the probe task: {text}")
    return text


def random_labels_give_chance(s: Subject) -> str:
    """12. With random support labels, accuracy is chance."""
    support = s.episodes.support
    ways = support.targets.shape[-1]
    labels = jax.random.randint(s.key, support.targets.shape[:2], 0, ways)
    targets = jax.nn.one_hot(labels, ways, dtype=support.targets.dtype)
    random = s.episodes._replace(support=support._replace(targets=targets))
    scores = _scores(s, s.meta, random)
    # a false alarm once in a thousand runs of a right learner (and the key is fixed)
    band = scipy.stats.t.ppf(0.9995, len(scores) - 1) * scipy.stats.sem(scores)
    off = abs(scores.mean() - 1 / ways)
    need(
        off <= band,
        f"labels: {scores.mean():.3f} with random labels, not {1 / ways:.3f}",
    )
    return f"{scores.mean():.3f} ± {band:.3f}"


def queries_are_independent(s: Subject) -> str:
    """13. A query's prediction ignores the other queries, unless declared transductive."""
    query = s.episode.query
    alone = by_numpy(lambda x: np.broadcast_to(x[:1], x.shape), query.inputs)
    apart = s.episode._replace(query=query._replace(inputs=alone))
    # the first query among others, and among copies of itself
    moved = distance(predict(s, apart)[:1], predict(s, s.episode)[:1])
    declared = s.options["transductive"]
    need(
        (moved > 1e-5) == declared,
        f"queries: a prediction moves by {moved:.2e} with the other queries, "
        f"and transductive={declared} was declared",
    )
    return f"moves by {moved:.1e}"


LAWS: dict[str, Callable[[Subject], str]] = {
    law.__name__: law
    for law in (
        init_is_abstract,
        outputs_have_target_shape,
        loss_and_gradient_are_finite,
        vmap_is_a_loop,
        jit_is_eager,
        no_second_compilation,
        same_key_same_value,
        support_order_is_irrelevant,
        padding_is_invisible,
        classes_are_exchangeable,
        it_learns,
        random_labels_give_chance,
        queries_are_independent,
        weights_are_copies,
        nan_is_no_score,
    )
}
"""The laws by name, in the order of the design."""

CLASSIFICATION_ONLY = ("random_labels_give_chance",)

MANY_EPISODES = ("it_learns", "random_labels_give_chance")
