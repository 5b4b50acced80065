"""Methods that say how sure they are: bands, draws, densities."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib import colormaps

import jaxmeta as jm
from jaxmeta.functional import gaussian_process as exact
from jaxmeta.functional import predictive as pr
from jaxmeta.learners.bmaml import bmaml_process
from jaxmeta.learners.cnp import neural_process
from jaxmeta.learners.conv_cnp import convolutional_process
from jaxmeta.learners.np import latent_process
from jaxmeta.learners.platipus import platipus_process
from jaxmeta.learners.prior_fitted_network import prior_fitted as fitted
from jaxmeta.learners.tnp import transformer_process
from notebooks.methods.drawing import THEME, picture, trained

GRID = jnp.linspace(-2, 2, 120)[:, None]
TASK = jm.tasks.gaussian_process(
    (3, 20), 15, length=(0.2, 0.6), scale=(0.5, 1.0), noise=0.05
)
SHOWN, SEEN = jax.random.key(4), (4, 15)  # points given, left and right
OPTIONS = {"steps": 1500, "rate": 2e-3}


def given(n: jax.Array) -> jm.Batch:
    """The first n points of the function that is drawn; the rest have weight 0."""
    support = TASK(SHOWN).support
    return support._replace(weights=(jnp.arange(len(support.targets)) < n) * 1.0)


def draw_exact(axis, n: int) -> None:
    """What exact inference says, and the points."""
    prior = jm.tasks.prior_of(TASK)
    belief = exact.moments(exact.averaged(prior, given(n), GRID, number=256))
    mean, std = (np.asarray(a)[:, 0] for a in belief)
    for sign, label in ((-2, "exact inference"), (0, None), (2, None)):
        axis.plot(GRID[:, 0], mean + sign * std, "--", color=THEME.ink, lw=0.9,
                  label=label)  # fmt: skip
    support = given(n)
    axis.plot(
        *np.asarray(support[:2])[..., :n, 0], "o", color=THEME.bad, ms=4, zorder=3
    )
    axis.set(title=f"{n} points", ylim=(-2.6, 2.6), xticks=(-2, 0, 2))


def process(it, **options: Any) -> bytes:
    """A neural process beside exact inference, with few points and with more."""
    _, meta = trained(it.learner, TASK, **{**OPTIONS, **options})

    @jax.jit
    def say(meta, n):
        fast = it.learner.adapt(meta, given(n), jax.random.key(1))
        return it.predictive(meta, fast, GRID)

    def draw(figure):
        for axis, n in zip(figure.subplots(1, 2, sharey=True), SEEN, strict=True):
            draw_exact(axis, n)
            found = say(meta, n)
            if isinstance(found, pr.Predictive):
                lines = np.asarray(found.members)[:8, :, 0]
                axis.plot(GRID[:, 0], lines.T, color=THEME.blue, lw=1)
                continue
            mean, std = (np.asarray(a)[:, 0] for a in found)
            axis.fill_between(GRID[:, 0], mean - 2 * std, mean + 2 * std,
                              color=THEME.blue, alpha=0.25, lw=0)  # fmt: skip
            axis.plot(GRID[:, 0], mean, color=THEME.blue, lw=1.8)
        figure.axes[0].legend(fontsize=7, loc="lower left", handlelength=1.6)

    return picture(draw)


def cnp() -> bytes:
    """The mean of all points."""
    wide = (96, 96)
    body, head = jm.models.mlp(None, hidden=wide), jm.models.mlp(2, hidden=wide)
    return process(neural_process(body, head, min_std=0.02), steps=2500)


def np_() -> bytes:
    """A draw is a function."""
    wide = (96, 96)
    body, head = jm.models.mlp(None, hidden=wide), jm.models.mlp(2, hidden=wide)
    return process(latent_process(body, head, min_std=0.05, latent=32), steps=2500)


def conv_cnp() -> bytes:
    """Convolutions on a grid."""
    body, head = jm.models.mlp(None, hidden=(24,)), jm.models.mlp(2, hidden=(24,))
    it = convolutional_process(body, head, density=16, filters=24, depth=4)
    return process(it, steps=500, rate=3e-3)


def tnp() -> bytes:
    """Attention."""
    body, head = jm.models.mlp(None, hidden=(32, 32)), jm.models.mlp(2, hidden=(32,))
    return process(transformer_process(body, head, depth=3))


CURVES = jm.tasks.sine_or_line(shots=5, queries=10)
WIDE = jnp.linspace(-5, 5, 120)[:, None]


def members(it, meta: jm.Meta) -> bytes:
    """What the members say of two tasks whose five points leave the answer open."""

    @jax.jit
    def say(meta, key):
        support = CURVES(key).support
        fast = it.learner.adapt(meta, support, key)
        return support, it.predictive(meta, fast, WIDE).members

    def draw(figure):
        for axis, seed in zip(figure.subplots(1, 2), (1, 6), strict=True):
            support, lines = say(meta, jax.random.key(seed))
            axis.plot(
                WIDE[:, 0], np.asarray(lines)[:12, :, 0].T, color=THEME.blue, lw=1
            )
            axis.plot(*support[:2], "o", color=THEME.bad, ms=4, zorder=3)
            axis.set(title="five points, of a line or of a sine", xticks=(-5, 0, 5))

    return picture(draw)


NET = jm.models.mlp(1, hidden=(40, 40))
REGRESSION = {"criterion": jm.criteria.regression, "noise": 0.5}


def platipus() -> bytes:
    """Draws of an initialisation, adapted."""
    it = platipus_process(
        NET, optax.sgd(0.005), steps=3, bound="mixture", kl_weight=0.1, init_std=0.1,
        train_samples=4, samples=12, **REGRESSION,
    )  # fmt: skip
    return members(it, trained(it.learner, CURVES, steps=1500, batch=8)[1])


def bmaml() -> bytes:
    """Particles that keep apart."""
    it = bmaml_process(
        NET, optax.sgd(0.02), steps=3, objective="likelihood", particles=5, **REGRESSION
    )
    return members(it, trained(it.learner, CURVES, steps=1500, batch=8)[1])


def prior_fitted() -> bytes:
    """A density over real values, bar by bar."""
    borders = tuple(np.linspace(-6, 6, 61))
    it = fitted(borders=borders, width=32, depth=2)
    _, meta = trained(it.learner, TASK, **OPTIONS)

    @jax.jit
    def say(meta, n):
        fast = it.learner.adapt(meta, given(n), jax.random.key(1))
        logits = it.believe(meta, fast, GRID)
        return jax.nn.softmax(logits), fast.target.mean[0], fast.target.std[0]

    def draw(figure):
        for axis, n in zip(figure.subplots(1, 2, sharey=True), SEEN, strict=True):
            bars, mean, std = map(np.asarray, say(meta, n))
            blues = colormaps["Blues"].resampled(12)
            edges = (mean + std * borders[0], mean + std * borders[-1])
            axis.imshow(np.sqrt(bars.T), cmap=blues, origin="lower", aspect="auto",
                        extent=(-2, 2, *edges), alpha=0.9)  # fmt: skip
            draw_exact(axis, n)
        figure.axes[0].legend(fontsize=7, loc="lower left", handlelength=1.6)

    return picture(draw)


PICTURES: dict[str, Callable[[], bytes]] = {
    "cnp": cnp, "np": np_, "conv_cnp": conv_cnp, "tnp": tnp, "platipus": platipus,
    "bmaml": bmaml, "prior_fitted": prior_fitted,
}  # fmt: skip
