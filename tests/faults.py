"""Faults of 0.1, each with the value it had then and the value now: `python -m tests.faults`.

What 0.1 said is as it was reported, sometimes of a larger input of the same kind: it is
not computed here. A line ends in "mended" where the value now is the right one, which a
test of the suite also holds.
"""

import contextlib
import io
import warnings
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx

import jaxmeta as jm
from jaxmeta.core import Batch, Episode
from tests.learners.cases import CASES, body, head

KEY = jax.random.key(0)


class Fault(NamedTuple):
    """One input.

    Attributes:
      kind: its number in the list of kinds.
      what: the input in a few words.
      before: what 0.1 said, as reported.
      now: computes what is said now.
      right: whether that is right.
    """

    kind: int
    what: str
    before: str
    now: Callable[[], object]
    right: Callable[[object], bool]


FAULTS: list[Fault] = []


def fault(kind: int, what: str, before: str, right: Callable[[object], bool]):
    """Adds a function of no arguments to the list."""

    def add(now):
        FAULTS.append(Fault(kind, what, before, now, right))
        return now

    return add


def refusal(run: Callable[[], object]) -> str:
    """The line that a call is refused with, or what it returned."""
    try:
        return f"no error: {run()}"
    except (ValueError, TypeError) as error:
        return str(error).splitlines()[0]


def oracle(criterion=None, answer=lambda x: x) -> jm.MetaLearner:
    """Its outputs are its inputs, which say the targets."""
    return jm.MetaLearner(
        lambda key, episode: jm.Meta({}),
        lambda meta, support, key: (),
        lambda meta, fast, inputs: answer(inputs),
        lambda meta, episode, key: (0.0, jm.Aux({})),
        criterion,
    )


def asked(draw) -> jm.Task:
    def task(key):
        return Episode(*(Batch(x, x) for x in map(draw, jax.random.split(key))))

    return task


def score(learner, task, meta=None, **options) -> str:
    meta = jm.Meta({}) if meta is None else meta
    found = jm.evaluate(learner, meta, task, KEY, episodes=20, **options)
    return f"{found.metric} {found.mean:.4f}"


# 1. Guessed kind


@fault(
    1,
    "a perfect oracle, targets [n, places, c]",
    "0.76",
    lambda x: x.endswith("1.0000"),
)
def places():
    def draw(key):
        return jax.nn.one_hot(jax.random.randint(key, (10, 3), 0, 4), 4)

    return score(
        oracle(jm.criteria.each_place(jm.criteria.classification)), asked(draw)
    )


@fault(
    1,
    "a perfect oracle, several labels a row",
    "0.94, cross-entropy inf",
    lambda x: x.endswith("1.0000"),
)
def labels():
    def draw(key):
        return jax.random.bernoulli(key, 0.5, (10, 4)).astype("float32")

    return score(oracle(jm.criteria.multilabel, lambda x: 9 * (2 * x - 1)), asked(draw))


@fault(
    1,
    "two real outputs, trained and tested",
    "accuracy and mse",
    lambda x: x == "mse mse",
)
def two_outputs():
    net = jm.models.mlp(2, hidden=())
    learner = jm.maml(net, optax.sgd(0.01), steps=1, criterion=jm.criteria.regression)
    task = asked(lambda key: jax.random.normal(key, (5, 2)))
    meta = learner.init(KEY, task(KEY))
    _, aux = learner.loss(meta, task(KEY), KEY)
    return f"{next(iter(aux.metrics))} {score(learner, task, meta).split()[0]}"


@fault(1, "one logit for two classes", "mse", lambda x: x == "accuracy 1.0000")
def one_logit():
    def draw(key):
        return jax.random.bernoulli(key, 0.5, (10, 1)).astype("float32")

    return score(oracle(jm.criteria.binary, lambda x: 2 * x - 1), asked(draw))


@fault(
    1,
    "smoothed labels, one class absent",
    "the absent class is predicted",
    lambda x: x == "absent class taken out, loss finite",
)
def smoothed():
    support = Batch(None, 0.9 * jnp.eye(3)[jnp.array([0, 1])] + 0.1 / 3)
    criterion = jm.criteria.classification
    outputs = criterion.prepare(jnp.array([[0.0, 0.0, 5.0]]), support)
    finite = jnp.isfinite(criterion.loss(outputs, support.targets[:1], None))
    known = "taken out" if outputs.argmax() != 2 else "predicted"
    return f"absent class {known}, loss {'finite' if finite else 'not finite'}"


# 2. Padding seen by batch statistics


@fault(
    2,
    "ProtoNet, conv4 'batch': padded and cut",
    "2.083 and 2.121",
    lambda x: abs(float(x.split()[0]) - float(x.split()[2])) < 1e-5,
)
def padding():
    data = jm.data.from_counts(
        np.random.default_rng(0).integers(0, 255, (90, 16, 16, 1), dtype="uint8"),
        [9] * 10,
        tuple("abcdefghij"),
    )
    task = jm.tasks.meta_dataset(data, max_ways=8, max_queries=3, max_support=40)
    episode = task(jax.random.key(3))
    learner = jm.protonet(jm.models.conv4(None, filters=4))
    meta = learner.init(KEY, episode)

    def cut(batch, ways):
        rows = np.flatnonzero(batch.weights)
        return Batch(batch.inputs[rows], batch.targets[rows][:, :ways])

    ways = int(
        np.asarray(episode.support.targets)[np.asarray(episode.support.weights) > 0]
        .any(0)
        .sum()
    )
    whole = learner.loss(meta, episode, KEY)[0]
    small = learner.loss(meta, Episode(*(cut(b, ways) for b in episode)), KEY)[0]
    return f"{whole:.6f} and {small:.6f}"


# 4. NaN as a number


@fault(
    4,
    "NaN parameters, ProtoNet of five ways",
    "accuracy 0.2000 ± 0.0000",
    lambda x: x == "accuracy nan",
)
def nan_score():
    learner, task = jm.protonet(jm.models.mlp(None)), jm.tasks.glyphs(5, 1, 3)
    meta = learner.init(KEY, task(KEY))
    return score(learner, task, jax.tree.map(lambda x: x * jnp.nan, meta))


@fault(
    4,
    "MAML with optax.masked(optax.adam(.1), ...)",
    "an all-NaN meta-gradient",
    lambda x: x.startswith("inner: got a transform"),
)
def masked():
    mask = {"head": True, "layer1": False}
    learner = jm.maml(
        jm.models.mlp(2, hidden=(4,)), optax.masked(optax.adam(0.1), mask)
    )
    return refusal(lambda: learner.init(KEY, jm.testing.probe(2)(KEY)))


# 5. Scale


@fault(
    5,
    "metaoptnet, features x 1e-6, 1, 1e6: accuracy, that of 1 being 1",
    "W = 0, kkt 0.0",
    lambda x: min(map(float, x.split())) > 0.9,
)
def scales():
    def accuracy(factor):
        learner = jm.metaoptnet(jm.models.flat())
        episode = jm.testing.probe(3, 5, 5, noise=1, loudness=0.1)(KEY)
        episode = jax.tree.map(lambda x: x, episode)
        seen, asked = (b._replace(inputs=factor * b.inputs) for b in episode)
        meta = learner.init(KEY, Episode(seen, asked))
        outputs = jm.train.predictions(learner, meta, Episode(seen, asked), KEY)
        return float(jm.metrics.accuracy(outputs, asked.targets))

    found = [accuracy(f) for f in (1e-6, 1.0, 1e6)]
    return " ".join(f"{x / found[1]:.2f}" for x in found)


# 6. Two scales of one data set


@fault(6, "uint8 in tasks.labelled: largest input", "255", lambda x: x == "1")
def units():
    data = jm.data.from_counts(np.full((4, 2, 2, 1), 255, np.uint8), [2, 2], ("a", "b"))
    return f"{float(jm.tasks.labelled(data).inputs.max()):g}"


# 7. Found by name


class Own(nnx.Module):
    def __init__(self, *, rngs):
        self.first, self.last = nnx.Linear(8, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.first(x)))


@fault(
    7,
    "boil on a module without a layer called 'head'",
    "MAML, silently",
    lambda x: "first/kernel" in x,
)
def boil():
    model = jm.models.from_nnx(lambda rngs: Own(rngs=rngs))
    learner = jm.boil(model, optax.sgd(0.1))
    episode = jm.testing.probe()(KEY)

    def run():
        return learner.loss(learner.init(KEY, episode), episode, KEY)[0]

    return refusal(run)


class Flagged(linen.Module):
    @linen.compact
    def __call__(self, x, training: bool):
        return linen.Dropout(0.5)(linen.Dense(3)(x), deterministic=not training)


@fault(
    7,
    "from_linen with a flag called training: dropout in training",
    "missing argument",
    lambda x: x == "drops out",
)
def linen_flag():
    model = jm.models.from_linen(Flagged())
    x = jnp.ones((4, 8))
    meta = model.init(KEY, x)
    trained = model.apply(meta, x, train=True, key=KEY)[0]
    return (
        "drops out" if bool(jnp.any(trained != model.apply(meta, x)[0])) else "does not"
    )


# 8. Recompiled


@fault(
    8,
    "traces of jit(trainer.step) over three steps: learners that are traced twice",
    "r2d2 2, metaoptnet 2, platipus 2, bmaml 2",
    lambda x: x == "none of 25",
)
def every_learner():
    counts = {
        name: count_traces(case.build(head, body), case.task)
        for name, case in CASES.items()
    }
    again = [f"{name} {n}" for name, n in counts.items() if n != 1]
    return f"{', '.join(again) or 'none'} of {len(counts)}"


@fault(
    8,
    "traces of jit(trainer.step) over three steps: r2d2, metaoptnet, platipus",
    "2, 2, 2",
    lambda x: x == "1, 1, 1",
)
def traces():
    body, head = jm.models.mlp(None, hidden=(4,)), jm.models.mlp(3, hidden=(4,))
    learners = (jm.r2d2(body), jm.metaoptnet(body), jm.platipus(head, optax.sgd(0.1)))
    return ", ".join(str(count_traces(learner)) for learner in learners)


def count_traces(learner: jm.MetaLearner, task: jm.Task | None = None) -> int:
    """How often `jax.jit(trainer.step)` is traced over three steps, nothing cast."""
    task, count = task or jm.testing.probe(), 0
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(1e-3))

    def counted(*args):
        nonlocal count
        count += 1
        return trainer.step(*args)

    step = jax.jit(counted)
    batch = jm.train.sample_batch(task, KEY, 2)
    state = trainer.init(KEY, batch)
    for i in range(3):
        state, _ = step(state, batch, jax.random.fold_in(KEY, i))
    return count


# 10. Small and certain


@fault(
    10, "tasks.semi_supervised of a plain function", "refused", lambda x: x == "a task"
)
def plain():
    task = jm.testing.probe()
    found = refusal(lambda: jm.tasks.semi_supervised(lambda key: task(key), 1, 1)(KEY))
    return "a task" if found.startswith("no error") else found


# 11. Words


@fault(
    11,
    "maml(nnx.Linear(...))",
    "'Linear' object has no attribute 'init'",
    lambda x: "from_nnx" in x,
)
def module_for_model():
    return refusal(lambda: jm.maml(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), optax.sgd(0.1)))


@fault(11, "integer labels for targets", "a shape error", lambda x: "of_labels" in x)
def integer_labels():
    learner, episode = jm.protonet(jm.models.mlp(None)), jm.testing.probe()(KEY)
    support = episode.support._replace(targets=episode.support.targets.argmax(-1))
    return refusal(lambda: learner.init(KEY, episode._replace(support=support)))


@fault(
    11,
    "a 5-way head judged 20-way",
    "shapes (100, 5) and (100, 20)",
    lambda x: "20, the ways" in x,
)
def other_ways():
    learner = jm.maml(jm.models.mlp(5), optax.sgd(0.1), steps=1)
    five, twenty = (jm.testing.probe(ways)(KEY) for ways in (5, 20))
    meta = learner.init(KEY, five)
    return refusal(lambda: jm.train.predictions(learner, meta, twenty, KEY))


def main() -> int:
    """Prints the table; the number of inputs that are not mended."""
    bad = 0
    for each in FAULTS:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            found = each.now()
        good = each.right(found)
        bad += not good
        print(f"{each.kind:>2}  {each.what}\n      0.1: {each.before}")
        print(f"      now: {found}   {'mended' if good else 'NOT MENDED'}")
    print(f"{len(FAULTS) - bad} of {len(FAULTS)} mended")
    return bad


if __name__ == "__main__":
    raise SystemExit(main())
