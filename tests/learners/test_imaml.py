"""iMAML: closed forms, the long unrolled walk, and what it refuses."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from tests.learners.family import KEY, begin, net, task, value_and_grad
from tests.learners.quadratic import W, episode, half_square, model

pytestmark = pytest.mark.usefixtures("x64")

TASK = episode([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])


@pytest.mark.parametrize(
    ("lam", "minimum", "loss", "gradient"),
    [
        (
            1.0,
            np.array([7, -1, 6]) / 15,
            1740.5 / 225,
            np.array([1652, 649, -354]) / 225,
        ),
        (2.0, np.array([0.5625, 0.125, 0.6875]), 24.5, np.array([14, 7, 0])),
    ],
)
def test_closed_form(lam, minimum, loss, gradient):
    learner = jm.imaml(
        model(), optax.sgd(0.05), steps=1000, lam=lam, criterion=half_square
    )
    meta = jm.Meta(jnp.array(W, jnp.float64))
    fast = learner.adapt(meta, TASK.support, KEY)
    np.testing.assert_allclose(fast, minimum, rtol=1e-10, atol=1e-10)
    value, grads = value_and_grad(learner, meta, TASK)
    np.testing.assert_allclose(value, loss, rtol=1e-10)
    np.testing.assert_allclose(grads, gradient, rtol=1e-10, atol=1e-10)


def test_without_conjugate_gradient_it_is_first_order_and_not_zero():
    learner = jm.imaml(
        model(), optax.sgd(0.05), steps=500, lam=2.0, cg_steps=0, criterion=half_square
    )
    meta = jm.Meta(jnp.array(W, jnp.float64))
    # (w . x_q) x_q at the minimum: 7 [4, 5, 6]
    np.testing.assert_allclose(
        value_and_grad(learner, meta, TASK)[1], [28, 35, 42], rtol=1e-10
    )


def test_the_gap_tells_how_far_the_walk_went():
    def gap(steps):
        learner = jm.imaml(net(), optax.sgd(0.2), steps=steps, lam=1.0)
        meta = begin(learner)
        return float(learner.loss(meta, task(), KEY)[1].metrics["inner_gap"])

    near, far = gap(200), gap(5)
    assert near < 1e-9 < 1e-2 < far


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "steps: got 0, wants an integer >= 1"),
        (dict(lam=0.0), "lam: got 0.0, wants a positive number"),
        (dict(cg_steps=-1), "cg_steps: got -1"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        jm.imaml(net(), optax.sgd(0.1), **options)


def test_a_learned_rule_is_refused_instead_of_never_learning():
    with pytest.raises(TypeError, match="does not depend on the rule"):
        jm.imaml(net(), jm.rules.meta_sgd(0.1))
    jm.imaml(net(), optax.adam(0.1))  # the walk is not differentiated
