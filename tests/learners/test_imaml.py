"""iMAML: closed forms, the long unrolled walk, and what it refuses."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.gradients import cg, implicit, unrolled
from tests.learners.family import KEY, begin, net, same, task, value_and_grad
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
        model(), optax.sgd(0.05), steps=500, lam=2.0, criterion=half_square,
        gradient=implicit(solver=cg(steps=0)),
    )  # fmt: skip
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


def test_the_residual_of_its_system_is_among_the_metrics():
    def residual(steps):
        gradient = implicit(solver=cg(steps=steps))
        learner = jm.imaml(net(), optax.sgd(0.2), steps=20, lam=1.0, gradient=gradient)
        meta = begin(learner)
        return float(learner.loss(meta, task(), KEY)[1].metrics["linear_residual"])

    near, far = residual(40), residual(0)
    assert near < 1e-9 < 1e-2 < far


def test_the_walk_can_be_differentiated_instead():
    """At its minimum the two gradients are one."""
    ways = (implicit(solver=cg(steps=40)), unrolled())
    learners = [
        jm.imaml(net(), optax.sgd(0.2), steps=300, lam=1.0, gradient=g) for g in ways
    ]
    meta = begin(learners[0])
    same(*(value_and_grad(learner, meta) for learner in learners), tol=1e-9)


def test_a_network_that_shares_nothing_has_no_implicit_gradient():
    text = r"gradient: got Implicit\(...\), wants one of"
    with pytest.raises(ValueError, match=text):
        jm.maml(net(), optax.sgd(0.1), gradient=implicit())
    for learner in (
        jm.anil(net(), optax.sgd(0.1), steps=20, gradient=implicit()),
        jm.cavia(net(), optax.sgd(0.1), steps=20, gradient=implicit()),
    ):
        _, grads = value_and_grad(learner, begin(learner))
        assert jnp.any(grads["layer1"]["kernel"] != 0)
    for options in (dict(inner_batch=1), dict(query_weights=jnp.ones(5))):
        with pytest.raises(ValueError, match=next(iter(options))):
            jm.anil(net(), optax.sgd(0.1), gradient=implicit(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(steps=0), "steps: got 0, wants an integer >= 1"),
        (dict(lam=0.0), "lam: got 0.0, wants a positive number"),
        (dict(gradient="implicit"), "gradient: got 'implicit', wants one of"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        jm.imaml(net(), optax.sgd(0.1), **options)


def test_a_learned_rule_is_refused_instead_of_never_learning():
    with pytest.raises(TypeError, match="does not depend on the rule"):
        jm.imaml(net(), jm.rules.meta_sgd(0.1))
    jm.imaml(net(), optax.adam(0.1))  # the walk is not differentiated
