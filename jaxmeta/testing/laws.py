"""What every meta-learner owes its users, as a list of checks that explain themselves.

Run them on your own learner: `jaxmeta.testing.check_learner(my_learner, task)`.
"""

import operator
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.stats

from jaxmeta import metrics, train
from jaxmeta.core import Batch, Episode, Key, Meta, MetaLearner, Task


class LawBroken(AssertionError):
    """A learner broke a law of the contract; the text says which, where, by how much."""


class Subject(NamedTuple):
    """What the laws look at.

    Attributes:
      learner: the method under test.
      task: its distribution of tasks.
      episode: one draw.
      meta: the learner's initial `Meta`, in the precision of the check.
      key: for everything random.
      options: the keyword arguments of `check_learner`.
      value_and_grad: `(meta, episode, key) -> (loss, metrics, grads)`, compiled. The
        three compiled functions are shared by the laws: compiling is what takes time.
      predict: `(meta, episode, key) -> outputs`, compiled.
      score: `(meta, episodes, keys) -> scores`, compiled.
    """

    learner: MetaLearner
    task: Task
    episode: Episode
    meta: Meta
    key: Key
    options: dict
    value_and_grad: Callable
    predict: Callable
    score: Callable


def subject(learner: MetaLearner, task: Task, key: Key, options: dict) -> Subject:
    """Draws an episode, initialises the learner and prepares what the laws share."""
    init_key, episode_key, key = jax.random.split(key, 3)
    episode = _cast(task(episode_key))
    meta = _cast(learner.init(init_key, episode))
    metric = metrics.accuracy if options["classification"] else metrics.mse

    def predict(meta, episode, key):
        return train.predictions(learner, meta, episode, key)

    def score(meta, episodes, keys):
        def one(episode, key):
            return metric(predict(meta, episode, key), episode.query.targets)

        return jax.vmap(one)(episodes, keys)

    compiled = map(jax.jit, (_value_and_grad(learner), predict, score))
    return Subject(learner, task, episode, meta, key, options, *compiled)


def _cast(tree):
    """Floats to the widest precision that is switched on."""
    wide = jnp.zeros(()).dtype
    return jax.tree.map(
        lambda x: x.astype(wide) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def _gap(a, b) -> float:
    """The largest difference between two trees, relative to the larger of 1 and |b|."""
    gaps = jax.tree.map(
        lambda x, y: jnp.max(
            jnp.abs(x - y) / jnp.maximum(1.0, jnp.abs(y)), initial=0.0
        ),
        a,
        b,
    )
    return max((float(g) for g in jax.tree.leaves(gaps)), default=0.0)


def _need(good: bool, text: str) -> None:
    if not good:
        raise LawBroken(text)


def _value_and_grad(learner):
    def run(meta, episode, key):
        def loss(params):
            return learner.loss(meta._replace(params=params), episode, key)

        (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(meta.params)
        return value, aux.metrics, grads

    return run


def _predict(s: Subject, episode: Episode):
    return s.predict(s.meta, episode, s.key)


def init_is_abstract(s: Subject) -> str:
    """1. `jax.eval_shape` of `init` works and agrees with `init`."""
    shapes = jax.eval_shape(s.learner.init, s.key, s.episode)
    same = jax.tree.structure(shapes) == jax.tree.structure(s.meta)
    _need(same, f"init: eval_shape gives {shapes}, init gives another tree")
    return f"{sum(x.size for x in jax.tree.leaves(s.meta.params))} parameters"


def outputs_have_target_shape(s: Subject) -> str:
    """2. `predict` after `adapt` has the shape of the query targets."""
    got, want = _predict(s, s.episode).shape, s.episode.query.targets.shape
    _need(got == want, f"predict: got shape {got}, wants that of the targets {want}")
    return str(got)


def loss_and_gradient_are_finite(s: Subject) -> str:
    """3. The loss is finite; its gradient has the tree of `params` and is finite."""
    value, _, grads = s.value_and_grad(s.meta, s.episode, s.key)
    _need(bool(jnp.isfinite(value)), f"loss: got {value}, wants a finite number")
    _need(value.shape == (), f"loss: got shape {value.shape}, wants a scalar")
    same = jax.tree.structure(grads) == jax.tree.structure(s.meta.params)
    _need(same, "gradient: its tree differs from that of params")
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        name = jax.tree_util.keystr(path)
        _need(bool(jnp.all(jnp.isfinite(leaf))), f"gradient: not finite in {name}")
    return f"loss {float(value):.4g}, |grad| {float(optax.tree.norm(grads)):.3g}"


def vmap_is_a_loop(s: Subject) -> str:
    """4. `vmap(loss)` over tasks equals a Python loop."""
    keys = jax.random.split(s.key, 3)
    episodes = _cast(jax.vmap(s.task)(keys))
    many = jax.jit(jax.vmap(_value_and_grad(s.learner), (None, 0, 0)))
    together = many(s.meta, episodes, keys)
    loop = [
        s.value_and_grad(
            s.meta, jax.tree.map(operator.itemgetter(i), episodes), keys[i]
        )
        for i in range(len(keys))
    ]
    gap = _gap(together, jax.tree.map(lambda *x: jnp.stack(x), *loop))
    _need(
        gap <= s.options["atol"], f"vmap: differs from a loop over tasks by {gap:.2e}"
    )
    return f"differ by {gap:.1e}"


def jit_is_eager(s: Subject) -> str:
    """5. The compiled loss and gradient equal the eager ones."""
    args = (s.meta, s.episode, s.key)
    gap = _gap(s.value_and_grad(*args), _value_and_grad(s.learner)(*args))
    _need(gap <= s.options["atol"], f"jit: differs from eager by {gap:.2e}")
    return f"differ by {gap:.1e}"


def no_second_compilation(s: Subject) -> str:
    """6. A second call with other values of the same shapes does not compile again."""
    traces = []

    def counted(meta, episode, key):
        traces.append(1)
        return s.learner.loss(meta, episode, key)[0]

    run = jax.jit(counted)
    for key in jax.random.split(s.key, 2):
        run(s.meta, _cast(s.task(key)), key)
    _need(len(traces) == 1, f"jit: got {len(traces)} traces for two calls, wants 1")
    return "1 trace"


def same_key_same_value(s: Subject) -> str:
    """7. The same key gives the same value, bit for bit."""
    first, second = (s.value_and_grad(s.meta, s.episode, s.key) for _ in range(2))
    _need(_gap(first, second) == 0.0, "key: the same key gave two different values")
    return "bit for bit"


def support_order_is_irrelevant(s: Subject) -> str:
    """8. Permuting the support set changes no prediction."""
    n = s.episode.support.targets.shape[0]
    order = jax.random.permutation(s.key, n)
    moved = jax.tree.map(lambda x: x[order], s.episode.support)
    gap = _gap(_predict(s, s.episode._replace(support=moved)), _predict(s, s.episode))
    _need(
        gap <= s.options["atol"], f"support: its order moves predictions by {gap:.2e}"
    )
    return f"moves by {gap:.1e}"


def _padded(batch: Batch) -> Batch:
    def pad(x, fill):
        return jnp.concatenate([x, jnp.full_like(x[:2], fill)])

    # values that would be seen: a zero image could hide a missing mask
    inputs = jax.tree.map(lambda x: pad(x, 1.5), batch.inputs)
    return Batch(inputs, pad(batch.targets, 0.0))


def padding_is_invisible(s: Subject) -> str:
    """9. Rows with zero targets change no loss, no gradient and no prediction."""
    support, query = map(_padded, s.episode)
    n = s.episode.query.targets.shape[0]
    seen = _predict(s, Episode(support, query))[:n]
    gap = _gap(seen, _predict(s, s.episode))
    _need(gap <= s.options["atol"], f"padding: moves predictions by {gap:.2e}")
    if s.options["random_loss"]:
        return f"moves predictions by {gap:.1e}"
    plain = s.value_and_grad(s.meta, s.episode, s.key)
    loss_gap = _gap(s.value_and_grad(s.meta, Episode(support, query), s.key), plain)
    _need(loss_gap <= s.options["atol"], f"padding: moves the loss by {loss_gap:.2e}")
    return f"moves by {max(gap, loss_gap):.1e}"


def classes_are_exchangeable(s: Subject) -> str:
    """10. Permuting the class columns permutes the predictions alike."""
    order = jnp.roll(jnp.arange(s.episode.query.targets.shape[1]), 1)
    support, query = s.episode
    moved = Episode(
        support._replace(targets=support.targets[:, order]),
        query._replace(targets=query.targets[:, order]),
    )
    gap = _gap(_predict(s, moved), _predict(s, s.episode)[:, order])
    _need(gap <= s.options["atol"], f"classes: not equivariant, by {gap:.2e}")
    return f"differ by {gap:.1e}"


def _scores(s: Subject, meta: Meta, task: Task) -> np.ndarray:
    keys = jax.random.split(s.key, s.options["episodes"])
    sampling, adapting = jax.vmap(jax.random.split, out_axes=1)(keys)
    episodes = _cast(jax.jit(jax.vmap(task))(sampling))
    return np.asarray(s.score(meta, episodes, adapting))


def it_learns(s: Subject) -> str:
    """11. A few outer steps improve the score on new tasks, in pairs."""
    better = 1 if s.options["classification"] else -1
    trainer = train.make_trainer(train.episodic(s.learner), s.options["tx"])
    state = train.TrainState(
        s.meta, s.options["tx"].init(s.meta.params), jnp.zeros((), "int32")
    )

    @jax.jit
    def fit(state):
        def sample(key):
            return _cast(s.task(key))

        steps = s.options["train_steps"]
        return train.fit(trainer, sample, state, s.key, steps=steps, batch=8)[0]

    before = _scores(s, s.meta, s.task)
    after = _scores(s, fit(state).meta, s.task)
    gain, half = train.interval(better * (after - before))
    text = f"{before.mean():.3f} -> {after.mean():.3f}, paired gain {gain:.3f} ± {half:.3f}"
    _need(gain > half, f"learning: no gain on the probe task: {text}")
    return text


def random_labels_give_chance(s: Subject) -> str:
    """12. With random support labels, accuracy is chance."""
    ways = s.episode.query.targets.shape[1]

    def task(key):
        drawing, labelling = jax.random.split(key)
        episode = s.task(drawing)
        n = episode.support.targets.shape[0]
        labels = jax.random.randint(labelling, (n,), 0, ways)
        targets = jax.nn.one_hot(labels, ways, dtype=episode.support.targets.dtype)
        return episode._replace(support=episode.support._replace(targets=targets))

    scores = _scores(s, s.meta, task)
    # a false alarm once in a thousand runs of a right learner (and the key is fixed)
    band = scipy.stats.t.ppf(0.9995, len(scores) - 1) * scipy.stats.sem(scores)
    off = abs(scores.mean() - 1 / ways)
    _need(
        off <= band,
        f"labels: {scores.mean():.3f} with random labels, not {1 / ways:.3f}",
    )
    return f"{scores.mean():.3f} ± {band:.3f}"


def queries_are_independent(s: Subject) -> str:
    """13. A query's prediction ignores the other queries, unless declared transductive."""
    moved = float(train.query_dependence(s.learner, s.meta, s.episode, s.key))
    declared = s.options["transductive"]
    _need(
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
    )
}
"""The laws by name, in the order of the design."""

CLASSIFICATION_ONLY = ("padding_is_invisible", "random_labels_give_chance")
