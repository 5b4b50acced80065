"""Learned rates: exact derivatives, and the identities that lead back to MAML."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from tests.learners.family import begin, net, same, value_and_grad
from tests.learners.quadratic import W, episode, half_square, model

pytestmark = pytest.mark.usefixtures("x64")

TASK = episode([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])


def gradient(learner, rule):
    meta = jm.Meta({"model": jnp.array(W, jnp.float64), "rule": rule})
    return value_and_grad(learner, meta, TASK)[1]


def test_a_rate_for_each_parameter():
    learner = jm.meta_sgd(model(), init_rate=0.5, criterion=half_square)
    grads = gradient(learner, jnp.full(3, 0.5))
    np.testing.assert_allclose(grads["rule"], [28980, 72450, 130410], rtol=1e-10)
    np.testing.assert_allclose(grads["model"], [3780, 8505, 13230], rtol=1e-10)


def test_one_rate():
    rule = jm.rules.learn(optax.sgd, learning_rate=0.5)
    learner = jm.maml(model(), rule, steps=1, criterion=half_square)
    grads = gradient(learner, {"learning_rate": jnp.array(0.5)})
    np.testing.assert_allclose(grads["rule"]["learning_rate"], 231840, rtol=1e-10)


def test_log_rates_have_the_same_derivative_times_the_rate():
    rule = jm.rules.meta_sgd(0.5, space="exp")
    learner = jm.maml(model(), rule, steps=1, criterion=half_square)
    grads = gradient(learner, jnp.full(3, np.log(0.5)))
    np.testing.assert_allclose(grads["rule"], [14490, 36225, 65205], rtol=1e-10)


@pytest.mark.parametrize("last", [None, 0])
def test_frozen_constant_rates_are_maml(last):
    options = dict(steps=2, gradient=jm.gradients.unrolled(last=last))
    rule = jm.rules.frozen(jm.rules.meta_sgd(0.3))
    learner = jm.maml(net(), rule, **options)
    plain = jm.maml(net(), optax.sgd(0.3), **options)
    inner = begin(plain)
    meta = inner._replace(
        params={"model": inner.params, "rule": rule.init(inner.params)}
    )
    value, grads = value_and_grad(learner, meta)
    expected = value_and_grad(plain, inner)
    same((value, grads["model"]), expected)
    assert not any(g.any() for g in jax.tree.leaves(grads["rule"]))


def test_the_rule_covers_what_adapts_and_nothing_else():
    learner = jm.anil(net(), jm.rules.meta_sgd(0.3), steps=2)
    meta = begin(learner)
    shapes = jax.tree.map(jnp.shape, meta.params["rule"])
    assert shapes["head"] == {"bias": (2,), "kernel": (3, 2)}
    assert not jax.tree.leaves(shapes["layer1"], is_leaf=lambda x: isinstance(x, tuple))
    _, grads = value_and_grad(learner, meta)
    assert all(g.any() for g in jax.tree.leaves(grads))
