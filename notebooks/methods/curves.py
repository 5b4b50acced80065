"""Methods that descend: a sine before and after, and beside it what is the method's own."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxmeta as jm
from jaxmeta import tree
from jaxmeta.learners.maml import is_head
from notebooks.methods.drawing import THEME, picture, trained

TASK = jm.tasks.sinusoid(shots=10, queries=20)
NET = jm.models.mlp(1, hidden=(40, 40), activation=jnp.tanh)
GRID = jnp.linspace(-5, 5, 120)[:, None]
SHOWN = jax.random.key(47)  # the task that is drawn
TESTS = 100  # tasks behind an error
REGRESSION = {"criterion": jm.criteria.regression}


class Curves(NamedTuple):
    """A method that adapts to a sine.

    Attributes:
      at: number of inner steps -> learner; all of them share their parameters.
      steps: inner steps in training.
      shown: inner steps whose curves are drawn, the first one dashed.
      outer: options of `trained`.
    """

    at: Callable[[int], jm.MetaLearner]
    steps: int
    shown: tuple[int, ...] = (0, 1, 10)
    outer: dict[str, Any] = {}  # noqa: RUF012 (a NamedTuple's default, never changed)


class Found(NamedTuple):
    """What training made of it."""

    method: Curves
    first: jm.Meta
    meta: jm.Meta


def found(method: Curves) -> Found:
    """Trains it."""
    options = {"steps": 1500, "rate": 5e-3, **method.outer}
    return Found(method, *trained(method.at(method.steps), TASK, **options))


def curve(learner: jm.MetaLearner, meta: jm.Meta) -> np.ndarray:
    """What it says on the grid, once it has seen the task that is drawn."""

    @jax.jit
    def say(meta):
        fast = learner.adapt(meta, TASK(SHOWN).support, SHOWN)
        return learner.predict(meta, fast, GRID)

    return np.asarray(say(meta))[:, 0]


def draw_curves(axis, it: Found) -> None:
    """The points, and the curves before and after."""
    support = TASK(SHOWN).support
    styles = [("--", THEME.ink, 1.2), ("-", THEME.orange, 1.2), ("-", THEME.blue, 1.8)]
    for k, (line, colour, width) in zip(it.method.shown, styles, strict=False):
        y = curve(it.method.at(k), it.meta)
        label = f"{k} step{'s' * (k != 1)}" if k else "before"
        axis.plot(GRID[:, 0], y, line, color=colour, lw=width, label=label)
    axis.plot(*support[:2], "o", color=THEME.bad, ms=4, zorder=3)
    axis.set(title="ten points of a new sine", xticks=(-5, 0, 5))
    axis.legend(fontsize=7, loc="lower left", handlelength=1.4)


def error(learner: jm.MetaLearner, meta: jm.Meta) -> float:
    """Mean squared error over test tasks."""

    @jax.jit
    def run(meta, keys):
        def one(key):
            episode = TASK(key)
            fast = learner.adapt(meta, episode.support, key)
            said = learner.predict(meta, fast, episode.query.inputs)
            return jnp.mean((said - episode.query.targets) ** 2)

        return jnp.mean(jax.vmap(one)(keys))

    return float(run(meta, jax.random.split(jax.random.key(5), TESTS)))


def errors(axis, it: Found, *, steps: tuple[int, ...] = (0, 1, 2, 5, 10, 20)) -> None:
    """The error of new tasks against inner steps."""
    values = [error(it.method.at(k), it.meta) for k in steps]
    axis.plot(steps, values, "o-", color=THEME.blue, ms=4)
    axis.axvline(it.method.steps, color=THEME.ink, lw=0.8, ls=":")
    axis.set(title=f"mean squared error, {TESTS} new tasks", xlabel="inner steps")
    axis.set_ylim(bottom=0)


def moves(axis, it: Found) -> None:
    """How far adapting moves each layer."""
    learner, layers = it.method.at(it.method.steps), ("layer1", "layer2", "head")
    fast = jax.jit(lambda m: learner.adapt(m, TASK(SHOWN).support, SHOWN))(it.meta)
    before, after = named(it.meta.params), named(fast)
    moved = [
        np.sqrt(
            sum(
                np.sum((x - before[name]) ** 2)
                for name, x in after.items()
                if name.startswith(layer)
            )
        )
        for layer in layers
    ]
    colours = [THEME.orange if is_head(name) else THEME.blue for name in layers]
    axis.bar(layers, moved, color=colours, width=0.6)
    axis.set(title="how far adapting moves each layer")


def named(params) -> dict[str, np.ndarray]:
    """Leaves by their paths."""
    names = jax.tree.leaves(tree.paths(params))
    leaves = [np.asarray(x) for x in jax.tree.leaves(params)]
    return dict(zip(names, leaves, strict=True))


def two_panels(method: Curves, beside: Callable) -> bytes:
    """The curves, and `beside(axis, found)`."""
    it = found(method)

    def draw(figure):
        left, right = figure.subplots(1, 2)
        draw_curves(left, it)
        beside(right, it)

    return picture(draw)
