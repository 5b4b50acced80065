"""Norms: the textbook formula in float64 is the definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxmeta.convolution import (
    affine_norm,
    batch_norm,
    group_norm,
    layer_norm,
    max_pool,
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


@pytest.mark.parametrize("pool", [None, max_pool])
def test_weights_are_copies_to_the_second_derivative(x64, pool):
    """And rows of weight 0 are no rows: NaN is not seen, not even by a gradient."""
    weights = np.array([0.0, 2.0, 1.0, 3.0, 0.0])
    times, x = weights.astype(int), np.array(draw(5, 4, 4, 2))
    x[0], x[-1] = np.nan, 1e300
    s, b = jnp.array([1.5, -0.5]), draw(2, seed=2)

    def loss(weights):
        def value(x, s, b):
            y, mean, var = batch_norm(x, s, b, pool=pool, weights=weights)
            w = jnp.ones(len(x)) if weights is None else weights
            each = w @ jnp.sin(y).reshape(len(x), -1).sum(1)
            return each + jnp.sum(jnp.cos(mean) + jnp.sin(var))

        return value

    def derivatives(weights, x):
        slope = jax.grad(loss(weights), range(3))
        along = (jnp.zeros_like(x), s, b)
        return jax.jit(lambda *args: jax.jvp(slope, args, along))(x, s, b)

    found = derivatives(jnp.array(weights), jnp.array(x))
    copies = jnp.array(np.repeat(x, times, 0))
    wanted = derivatives(None, copies)
    for (dx, *rest), (cx, *others) in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(dx[times == 0], 0)
        # what a row gets is shared by its copies
        shared = np.repeat(dx / np.maximum(times, 1)[:, None, None, None], times, 0)
        np.testing.assert_allclose(shared, cx, rtol=1e-11, atol=1e-12)
        for a, c in zip(rest, others, strict=True):
            np.testing.assert_allclose(a, c, rtol=1e-11, atol=1e-12)


def test_fractional_weights_and_none(x64):
    x = np.array([[1.0], [3.0], [np.nan]])
    s, b = jnp.ones(1), jnp.zeros(1)
    _, mean, var = batch_norm(x, s, b, weights=jnp.array([0.75, 0.25, 0.0]))
    np.testing.assert_allclose([mean[0], var[0]], [1.5, 0.75], rtol=1e-15)
    y, mean, var = batch_norm(x, s, b, weights=jnp.zeros(3))
    assert np.isfinite(y).all() and mean == 0 and var == 0
    with pytest.raises(ValueError, match=r"weights: got shape \(2,\), wants \(3,\)"):
        batch_norm(x, s, b, weights=jnp.ones(2))


def test_float32_far_from_zero_with_weights():
    """Padding first, and a first row of next to no weight: no shift by either of them."""
    x = (1e4 + np.random.RandomState(0).randn(9, 6, 6, 2)).astype(np.float32)
    x[0], x[1] = -1e30, 0.0
    weights = np.array([0.0, 1e-12, *[1.0] * 7], np.float32)
    y, _, var = batch_norm(x, jnp.ones(2), jnp.zeros(2), weights=jnp.array(weights))
    wide = x[2:].astype(np.float64)
    np.testing.assert_allclose(y[2:], textbook(wide, (0, 1, 2), 1, 0), atol=2e-4)
    np.testing.assert_allclose(var, wide.var((0, 1, 2)), rtol=1e-3)


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
