"""A task is one program by itself, whose trace equal tasks share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta import tasks

KEY = jax.random.key(0)
DATA = jm.data.from_counts(
    np.arange(96, dtype="float32").reshape(6, 4, 4), [3, 3], ("a", "b")
)
BUILDERS = {
    "few_shot": lambda: tasks.few_shot(DATA, 2, 1, 2),
    "gaussian_process": lambda: tasks.gaussian_process(3, 4),
    "glyphs": lambda: tasks.glyphs(2, 1, 1, size=8),
    "probe": lambda: jm.testing.probe(),
    "sine_or_line": lambda: tasks.sine_or_line(3, 4),
    "sinusoid": lambda: tasks.sinusoid(3, 4),
    "tree_ensemble": lambda: tasks.tree_ensemble(8, 3),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_equal_tasks_share_a_trace(name):
    def program():
        task = BUILDERS[name]()
        (call,) = jax.make_jaxpr(lambda key: task(key))(KEY).eqns  # one, not a hundred
        return call.params["jaxpr"]

    assert program() is program()


@pytest.mark.parametrize("kind", [jnp.float32, np.float32])
def test_an_option_may_be_an_array(kind):
    drawn = (tasks.sine_or_line(3, 4, noise=noise)(KEY) for noise in (kind(0.1), 0.1))
    for got, want in zip(*map(jax.tree.leaves, drawn), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_an_option_may_be_traced():
    """A scale that a function is differentiated by, in an option and in what it calls."""

    def noisy(noise):
        return tasks.sine_or_line(3, 4, noise=noise)(KEY).support.targets.sum()

    step = (noisy(0.4) - noisy(0.2)) / 0.2
    np.testing.assert_allclose(jax.grad(noisy)(0.3), step, rtol=1e-3)

    @jax.jit
    def scaled(scale):
        task = tasks.few_shot(DATA, 2, 1, 2, normalise=lambda x: x * scale)
        each = jax.vmap(lambda key: task(key).query.inputs.sum())
        return task(KEY).query.inputs.sum() + each(jax.random.split(KEY, 2)).sum()

    np.testing.assert_allclose(scaled(2.0), 2 * scaled(1.0), rtol=1e-6)
