"""Pictures of the methods of MAML's kin, one function each."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from notebooks.methods.curves import (
    NET,
    REGRESSION,
    TASK,
    TESTS,
    Curves,
    errors,
    moves,
    named,
    two_panels,
)
from notebooks.methods.drawing import THEME, picture

RATE = 0.02
SGD = optax.sgd(RATE)
FEW = (0, 1, 2)
Builder = Callable[[int], jm.MetaLearner]


def from_none(build: Builder, inner: Any = SGD) -> Builder:
    """For builders that want a step: none is MAML of no step, whose `Meta` is theirs."""
    none = jm.maml(NET, inner, steps=0, **REGRESSION)
    return lambda k: build(k) if k else none


def maml() -> bytes:
    """How far it goes on than it was trained to."""
    at = lambda k: jm.maml(NET, SGD, steps=k, **REGRESSION)  # noqa: E731
    return two_panels(Curves(at, 1), errors)


def anil() -> bytes:
    """The head alone."""
    at = lambda k: jm.anil(NET, optax.sgd(0.05), steps=k, **REGRESSION)  # noqa: E731
    return two_panels(Curves(at, 1), moves)


def boil() -> bytes:
    """All but the head."""
    at = lambda k: jm.boil(NET, SGD, steps=k, **REGRESSION)  # noqa: E731
    return two_panels(Curves(at, 1), moves)


def meta_sgd() -> bytes:
    """The rates that it learned."""

    def rates(axis, it):
        found = named(it.meta.params["rule"])
        kernels = [name for name in found if name.endswith("kernel")]
        values = [found[name].ravel() for name in kernels]
        layers = [name.split("/")[0] for name in kernels]
        colours = [THEME.faint, THEME.blue, THEME.orange]
        axis.hist(values, 30, density=True, histtype="step", color=colours, lw=1.4,
                  label=layers)  # fmt: skip
        axis.axvline(RATE, color=THEME.ink, lw=0.8, ls=":")
        axis.set(title="learned rates", yticks=[])
        axis.legend(fontsize=7)

    at = lambda k: jm.meta_sgd(NET, init_rate=RATE, steps=k, **REGRESSION)  # noqa: E731
    return two_panels(Curves(at, 1, FEW), rates)


def meta_curvature() -> bytes:
    """A matrix that it learned."""

    def matrix(axis, it):
        m = named(it.meta.params["rule"])
        (name,) = [n for n in m if n.endswith("layer2/kernel/o")]
        apart = m[name] - np.eye(len(m[name]))
        top = np.abs(apart).max()
        shown = axis.imshow(apart, cmap="PuOr", vmin=-top, vmax=top)
        axis.set(title="what layer2's gradient is multiplied by,\nless the identity",
                 xticks=[], yticks=[])  # fmt: skip
        axis.figure.colorbar(shown, ax=axis)

    at = lambda k: jm.meta_curvature(NET, SGD, steps=k, **REGRESSION)  # noqa: E731
    return two_panels(Curves(at, 1, FEW), matrix)


def maml_plus_plus() -> bytes:
    """Its rates, step by step."""

    def rates(axis, it):
        colours = [THEME.faint, THEME.blue, THEME.orange]
        found = named(it.meta.params["rule"])
        kernels = [name for name in found if name.endswith("kernel")]
        for name, colour in zip(sorted(kernels, reverse=True), colours, strict=True):
            axis.plot(range(1, 6), found[name], "o-", ms=4, color=colour,
                      label=name.split("/")[0])  # fmt: skip
        axis.axhline(RATE, color=THEME.ink, lw=0.8, ls=":")
        axis.set(title="learned rates", xlabel="inner step", xticks=range(1, 6))
        axis.legend(fontsize=7)

    at = partial(_plus_plus, epoch=100, multi_step_epochs=10, first_order_epochs=0)
    return two_panels(Curves(at, 5, (0, 1, 5)), rates)


def _plus_plus(k: int, **options) -> jm.MetaLearner:
    return jm.maml_plus_plus(
        NET,
        steps=k,
        sets=5,
        init_rate=RATE,
        per_step_norm=False,
        **options,
        **REGRESSION,
    )


def multi_step_weights() -> bytes:
    """The weights themselves: nothing is trained."""
    weights = jm.multi_step_weights(5, epochs=15, epoch=100)
    t = np.arange(0, 2000, 10)
    values = np.asarray(jax.vmap(weights)(jnp.asarray(t, float)))

    def draw(figure):
        axis = figure.subplots()
        axis.step(
            t, values[:, -1], color=THEME.blue, lw=2, label="after the last of 5 steps"
        )
        axis.step(
            t, values[:, 0], color=THEME.orange, lw=2, label="after each of the others"
        )
        axis.set(xlabel="outer step", title="weight of the query loss", ylim=(0, 1.05))
        axis.legend(fontsize=8, loc="center right")

    return picture(draw)


def cavia() -> bytes:
    """Where tasks end up in two numbers."""

    def contexts(axis, it):
        learner = it.method.at(1)

        @jax.jit
        def run(meta, keys):
            def one(key):
                wave, phase, _ = jax.random.split(key, 3)  # as the task draws them
                amplitude = jax.random.uniform(wave, minval=0.1, maxval=5.0)
                p = jax.random.uniform(phase, minval=0.0, maxval=jnp.pi)
                return learner.adapt(meta, TASK(key).support, key), amplitude, p

            return jax.vmap(one)(keys)

        keys = jax.random.split(jax.random.key(5), 2 * TESTS)
        phi, amplitude, phase = map(np.asarray, run(it.meta, keys))
        shown = axis.scatter(*phi.T, s=1 + 4 * amplitude, c=phase, cmap="viridis")
        axis.set(title="the context of 200 tasks", xticks=[], yticks=[])
        axis.figure.colorbar(shown, ax=axis, label="phase")

    at = lambda k: jm.cavia(NET, optax.sgd(1.0), context=2, steps=k, **REGRESSION)  # noqa: E731
    return two_panels(Curves(at, 1, FEW), contexts)


def imaml() -> bytes:
    """A walk that may be as long as one likes."""
    implicit = jm.gradients.implicit(solver=jm.gradients.cg(steps=5))

    @from_none
    def at(k):
        return jm.imaml(
            NET, optax.sgd(0.01), steps=k, lam=2.0, gradient=implicit, **REGRESSION
        )

    method = Curves(at, 30, (0, 10, 100), {"steps": 600, "clip": 1.0})
    return two_panels(method, partial(errors, steps=(0, 5, 10, 20, 30, 60, 100)))


def reptile() -> bytes:
    """It learned from the way alone."""
    at = from_none(lambda k: jm.reptile(NET, SGD, steps=k, **REGRESSION))
    outer = {"tx": optax.sgd(optax.linear_schedule(1.0, 0.0, 3000)), "clip": 1e9}
    method = Curves(at, 10, (0, 1, 10), {"steps": 3000, **outer})
    return two_panels(method, partial(errors, steps=(0, 1, 2, 5, 10, 20, 30)))


def lstm_meta_learner() -> bytes:
    """The learned optimiser beside the number of its steps."""
    start = jm.rules.coordinate_lstm()
    at = from_none(lambda k: jm.lstm_meta_learner(NET, steps=k, **REGRESSION), start)
    method = Curves(at, 5, (0, 1, 5), {"steps": 600, "batch": 4, "clip": 0.25})
    return two_panels(method, partial(errors, steps=(0, 1, 2, 3, 5, 7, 10)))


PICTURES = {
    f.__name__: f
    for f in (maml, anil, boil, meta_sgd, meta_curvature, maml_plus_plus,
              multi_step_weights, cavia, imaml, reptile, lstm_meta_learner)
}  # fmt: skip
