"""Meta-gradients that are known to the last digit, through the public API."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from tests.learners.quadratic import W, episode, half_square, model

pytestmark = pytest.mark.usefixtures("x64")


def gradient(learner, task):
    meta = jm.Meta(jnp.array(W, jnp.float64))
    episodes = jax.tree.map(lambda x: x[None], task)
    grads, _ = jm.meta_gradient(learner, meta, episodes, jax.random.key(0))
    return np.asarray(grads)


def maml(rate, **options):
    return jm.maml(model(), optax.sgd(rate), criterion=half_square, **options)


ONE_STEP = ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
SWAPPED = ONE_STEP[::-1]


@pytest.mark.parametrize(
    ("sets", "rate", "options", "expected"),
    [
        (ONE_STEP, 0.5, dict(steps=1), [3780, 8505, 13230]),
        (
            ONE_STEP,
            0.5,
            dict(steps=1, gradient=jm.gradients.first_order),
            [-1260, -1575, -1890],
        ),
        (
            SWAPPED,
            0.5,
            dict(steps=1, gradient=jm.gradients.first_order),
            [-825, -1650, -2475],
        ),
        (ONE_STEP, 0.01, dict(steps=5), [70.18387557, 64.8889758, 59.59407602]),
        (
            ONE_STEP,
            0.01,
            dict(steps=5, gradient=jm.gradients.first_order),
            [100.63836713, 125.79795891, 150.95755069],
        ),
    ],
)
@pytest.mark.parametrize("memory", ["store", "remat"])
def test_maml(sets, rate, options, expected, memory):
    last = 0 if options.get("gradient") == jm.gradients.first_order else None
    way = jm.gradients.unrolled(memory=memory, last=last)
    got = gradient(maml(rate, **options | {"gradient": way}), episode(*sets))
    # the table gives eight decimals
    np.testing.assert_allclose(got, expected, rtol=1e-10, atol=5e-9)


def test_maml_three_steps_linear_outer_loss():
    """The outer loss of this case is the prediction itself, not its square."""
    base = maml(1.0, steps=3)

    def loss(meta, task, key):
        fast = base.adapt(meta, task.support, key)
        outputs = base.predict(meta, fast, task.query.inputs)
        return outputs.sum(), jm.Aux({"output": outputs.sum()})

    task = episode([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    meta = jm.Meta(jnp.array(W, jnp.float64))
    fast = base.adapt(meta, task.support, jax.random.key(0))
    np.testing.assert_array_equal(fast, [-3609, -7219, -10828])
    got = gradient(base._replace(loss=loss), task)
    # torchmeta's query of this case is [4, 5, 6]: see the second assertion
    assert got.shape == (3,)
    other = gradient(base._replace(loss=loss), episode([1.0, 2, 3], [4.0, 5, 6]))
    np.testing.assert_array_equal(other, [-5020, -10043, -15066])


def test_adapted_parameters():
    task = episode(*ONE_STEP)
    meta = jm.Meta(jnp.array(W, jnp.float64))
    fast = maml(0.5, steps=1).adapt(meta, task.support, jax.random.key(0))
    np.testing.assert_array_equal(fast, [-9.5, -20.0, -29.5])
    fast = maml(0.01, steps=5).adapt(meta, task.support, jax.random.key(0))
    np.testing.assert_allclose(
        fast, [1.12998724, 1.25997449, 2.38996173], rtol=0, atol=5e-9
    )


def test_reptile():
    learner = jm.reptile(model(), optax.sgd(0.5), steps=1, criterion=half_square)
    np.testing.assert_array_equal(
        gradient(learner, episode(*ONE_STEP)), [11.5, 23, 34.5]
    )
