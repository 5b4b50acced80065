"""Norms: the textbook formula in float64 is the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxmeta.functional.convolution import max_pool
from jaxmeta.functional.normalization import (
    affine_norm,
    batch_norm,
    group_norm,
    layer_norm,
)


def draw(*shape, seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape))


def textbook(x, axes, scale, offset, eps=1e-5):
    mean = np.mean(x, axes, keepdims=True)
    var = np.mean((x - mean) ** 2, axes, keepdims=True)
    return (x - mean) / np.sqrt(var + eps) * scale + offset


NORMS = {
    "batch": lambda x, s, b: batch_norm(x, s, b)[0],
    "group": lambda x, s, b: group_norm(x, 2, s, b),
    "layer": layer_norm,
}


def test_values(x64):
    x, s, b = draw(3, 4, 5, 6), 1 + draw(6, seed=1), draw(6, seed=2)
    x = np.asarray(x)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)  # noqa: E731
    y, mean, var = batch_norm(x, s, b)
    close(y, textbook(x, (0, 1, 2), s, b))
    close(mean, x.mean((0, 1, 2)))
    close(var, x.var((0, 1, 2)))
    close(affine_norm(x, mean, var, s, b), y)
    close(layer_norm(x, s, b), textbook(x, (1, 2, 3), s, b))
    grouped = textbook(x.reshape(3, 4, 5, 2, 3), (1, 2, 4), 1, 0).reshape(x.shape)
    close(group_norm(x, 2, s, b), grouped * s + b)


@pytest.mark.parametrize("name", NORMS)
def test_derivatives_to_second_order(x64, name):
    x, s, b = draw(2, 2, 3, 4), 1 + draw(4, seed=1), draw(4, seed=2)
    weight = draw(2, 2, 3, 4, seed=3)  # a plain sum of y would not depend on x

    def loss(x, s, b):
        return jnp.sum(weight * jnp.sin(NORMS[name](x, s, b)))

    check_grads(jax.jit(loss), (x, s, b), order=2, eps=1e-4, atol=1e-5, rtol=1e-5)


def test_pooled_before_is_pooled_after(x64):
    """A maximum before the norm is one after it, to the second derivative."""
    x, b, weight = draw(3, 4, 5, 4), draw(4, seed=2), draw(3, 2, 2, 4, seed=3)
    s = jnp.array([1.5, -0.5, 2.0, -1.0])  # below zero, a minimum is what is needed

    def loss(pooled):
        def value(*args):
            y, mean, var = pooled(*args)
            return jnp.sum(weight * jnp.sin(y)) + jnp.sum(jnp.cos(mean) + jnp.sin(var))

        return value

    def before(x, s, b):
        return batch_norm(x, s, b, pool=max_pool)

    def after(x, s, b):
        y, mean, var = batch_norm(x, s, b)
        return max_pool(y), mean, var

    for found, wanted in zip(before(x, s, b), after(x, s, b), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)
    derivatives = []
    for pooled in (before, after):
        slope = jax.grad(loss(pooled), range(3))
        derivatives.append(
            jax.jit(lambda *args, f=slope: jax.jvp(f, args, args))(x, s, b)
        )
    for found, wanted in zip(*map(jax.tree.leaves, derivatives), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10)
    zero, _, _ = before(x, jnp.zeros(4), b)
    np.testing.assert_array_equal(zero, jnp.broadcast_to(b, zero.shape))


def test_statistics_carry_gradients(x64):
    x = draw(3, 2, 2, 2)

    def loss(x):
        _, mean, var = batch_norm(x, jnp.ones(2), jnp.zeros(2))
        return jnp.sum(mean**3) + jnp.sum(jnp.sqrt(var))

    check_grads(jax.jit(loss), (x,), order=2, eps=1e-4, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", NORMS)
def test_float32_far_from_zero(name):
    """A mean 10,000 times the deviation leaves E[x^2] - E[x]^2 no correct digit."""
    x = (1e4 + np.random.RandomState(0).randn(8, 6, 6, 4)).astype(np.float32)
    axes = (0, 1, 2) if name == "batch" else (1, 2, 3)
    wide = x.astype(np.float64)
    if name == "group":
        wanted = textbook(wide.reshape(8, 6, 6, 2, 2), (1, 2, 4), 1, 0).reshape(x.shape)
    else:
        wanted = textbook(wide, axes, 1, 0)
    got = jax.jit(NORMS[name])(x, jnp.ones(4), jnp.zeros(4))
    np.testing.assert_allclose(got, wanted, atol=2e-5)


def test_an_outlying_first_image_does_not_spoil_the_variance():
    x = np.random.RandomState(0).randn(64, 5, 5, 2).astype(np.float32)
    x[0] += 1e3
    _, mean, var = batch_norm(x, jnp.ones(2), jnp.zeros(2))
    wide = x.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean((0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(var, wide.var((0, 1, 2)), rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 3.1, -1e4])
def test_a_constant_channel_is_the_offset(value):
    x = jnp.full((4, 3, 3, 2), value)
    y, mean, var = jax.jit(batch_norm)(x, jnp.ones(2), jnp.full(2, 0.5))
    np.testing.assert_allclose(y, 0.5, atol=1e-3)
    np.testing.assert_allclose(mean, value, rtol=1e-6)
    assert (var >= 0).all()


def test_rows_without_space():
    x = draw(5, 3).astype(jnp.float32)
    y, *_ = batch_norm(x, jnp.ones(3), jnp.zeros(3))
    np.testing.assert_allclose(y, textbook(np.asarray(x), (0,), 1, 0), atol=1e-5)
    y = layer_norm(x, jnp.ones(3), jnp.zeros(3))
    np.testing.assert_allclose(y, textbook(np.asarray(x), (1,), 1, 0), atol=1e-5)


def test_groups_must_divide():
    with pytest.raises(ValueError, match="groups: got 3, wants a divisor of 4"):
        group_norm(jnp.zeros((1, 2, 4)), 3, jnp.ones(4), jnp.zeros(4))
