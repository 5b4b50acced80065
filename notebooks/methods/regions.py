"""Methods that compare: what they say of every place of a plane, before and after training.

A class is a ring about the origin, and a task three rings with two examples each. Whoever
has seen other tasks knows that the angle says nothing.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from jaxmeta import transfer
from jaxmeta.recipes.packed import trained as published
from notebooks.methods.drawing import THEME, picture, trained

WAYS, TESTS, SIDE, REACH = 3, 200, 120, 3.2
SHOWN = jax.random.key(3)
LINE = jnp.linspace(-REACH, REACH, SIDE)
GRID = jnp.stack(jnp.meshgrid(LINE, LINE), -1).reshape(-1, 2)
ENCODER = jm.models.mlp(None, hidden=(32, 32), activation=jnp.tanh)
COLOURS = (THEME.blue, THEME.orange, THEME.good)


def rings(key: jax.Array) -> jm.Episode:
    """One task: three radii, apart by 0.6 and more."""
    radii, shuffle, *parts = jax.random.split(key, 4)
    gaps = jnp.sort(jax.random.uniform(radii, (WAYS,), maxval=1.2))
    radius = jax.random.permutation(shuffle, 0.4 + gaps + 0.6 * jnp.arange(WAYS))

    def draw(key, each):
        turn, off = jax.random.split(key)
        labels = jnp.repeat(jnp.arange(WAYS), each)
        angle = jax.random.uniform(turn, labels.shape, maxval=2 * jnp.pi)
        r = radius[labels] + 0.08 * jax.random.normal(off, labels.shape)
        x = r[:, None] * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
        return jm.Batch(x, jax.nn.one_hot(labels, WAYS))

    return jm.Episode(draw(parts[0], 2), draw(parts[1], 5))


Said = tuple[np.ndarray, float]


def said(learner: jm.MetaLearner) -> Callable[[jm.Meta], Said]:
    """A program: the class of every place of the grid, and the accuracy on new tasks."""

    @jax.jit
    def run(meta, keys):
        def right(key):
            episode = rings(key)
            fast = learner.adapt(meta, episode.support, key)
            outputs = learner.predict(meta, fast, episode.query.inputs)
            return jnp.mean(outputs.argmax(-1) == episode.query.targets.argmax(-1))

        fast = learner.adapt(meta, rings(SHOWN).support, SHOWN)
        grid = learner.predict(meta, fast, GRID).argmax(-1)
        return grid.reshape(SIDE, SIDE), jnp.mean(jax.vmap(right)(keys))

    keys = jax.random.split(jax.random.key(5), TESTS)
    return lambda meta: tuple(map(np.asarray, run(meta, keys)))  # type: ignore


def draw_regions(axis, found: Said, title: str, support: jm.Batch) -> None:
    """Who says what where, and the examples."""
    from matplotlib.colors import ListedColormap

    edge = (-REACH, REACH)
    axis.imshow(found[0], cmap=ListedColormap(COLOURS), alpha=0.35, vmin=0, vmax=2,
                origin="lower", extent=(*edge, *edge), interpolation="nearest")  # fmt: skip
    labels = np.asarray(support.targets).argmax(-1)
    axis.scatter(*np.asarray(support.inputs).T, c=[COLOURS[i] for i in labels], s=36,
                 edgecolors="white", linewidths=1, zorder=3)  # fmt: skip
    axis.set(title=f"{title}: {100 * found[1]:.0f} % right", xticks=[], yticks=[])


def two_planes(learner: jm.MetaLearner, **options: Any) -> bytes:
    """Before and after training on other tasks."""
    options = {"steps": 800, **options}
    say = said(learner)
    before, after = map(say, trained(learner, rings, **options))

    def draw(figure):
        left, right = figure.subplots(1, 2)
        support = rings(SHOWN).support
        draw_regions(left, before, "untrained", support)
        draw_regions(right, after, "trained", support)

    return picture(draw, (5.2, 2.8))


def prior_fitted_network() -> bytes:
    """The network that comes with the package, on tables of two columns."""
    kept = published("classes")
    say = said(kept.fitted.learner)

    def draw(figure):
        axis = figure.subplots()
        draw_regions(axis, say(kept.meta), "as it comes", rings(SHOWN).support)

    return picture(draw, (2.8, 2.8))


def extractor() -> jm.Model:
    """Features of ordinary training: six rings, told apart by one network."""
    random = np.random.default_rng(0)
    label = np.repeat(np.arange(6), 200)
    angle = random.uniform(0, 2 * np.pi, len(label))
    r = 0.4 + 0.45 * label + random.normal(0, 0.08, len(label))
    x = (r[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)).astype("float32")
    draw = transfer.examples(jm.data.from_labels(x, label))
    network = jm.models.mlp(6, hidden=(32, 32), activation=jnp.tanh)
    trainer = jm.make_trainer(transfer.supervised(network), optax.adam(3e-3))

    @jax.jit
    def run(draw, key):
        state = trainer.init(key, jm.train.sample_batch(draw, key, 2))
        return jm.fit(trainer, draw, state, key, steps=600, batch=64)[0]

    return jm.models.pretrained(ENCODER, run(draw, jax.random.key(0)).meta)


LEARNERS: dict[str, tuple[Callable[[], jm.MetaLearner], dict]] = {
    "protonet": (lambda: jm.protonet(ENCODER), {}),
    "matching_network": (
        lambda: jm.matching_network(ENCODER, learn_temperature=True),
        {},
    ),
    "relation_network": (
        lambda: jm.relation_network(
            ENCODER, relation=jm.models.relation(hidden=32, norm=None)
        ),
        {"steps": 1500},
    ),
    "r2d2": (lambda: jm.r2d2(ENCODER), {}),
    "lrd2": (lambda: jm.learners.lrd2(ENCODER, scale=3.0), {"steps": 500}),
    "metaoptnet": (
        lambda: jm.metaoptnet(ENCODER, C=1.0, scale=10.0),
        {"steps": 2000},
    ),
    "baseline_plus_plus": (lambda: jm.baseline_plus_plus(ENCODER, steps=20), {}),
    "simple_shot": (lambda: jm.simple_shot(ENCODER, temperature=0.1), {}),
    "logistic_regression": (
        lambda: jm.learners.logistic_regression(ENCODER, l2=0.01, steps=100),
        {"steps": 400},
    ),
    "tip_adapter": (lambda: jm.tip_adapter(ENCODER), {}),
    "proto_maml": (lambda: jm.proto_maml(ENCODER, optax.sgd(0.05), steps=3), {}),
    "meta_transfer": (
        lambda: jm.meta_transfer(extractor(), optax.sgd(0.5), steps=30),
        {},
    ),
    "snail": (
        lambda: jm.snail(ENCODER, filters=16, attention=((16, 16), (32, 32))),
        {"steps": 2000, "rate": 2e-3},
    ),
}


def _of(name: str) -> Callable[[], bytes]:
    return lambda: two_planes(LEARNERS[name][0](), **LEARNERS[name][1])


PICTURES = {name: _of(name) for name in LEARNERS} | {
    "prior_fitted_network": prior_fitted_network
}
