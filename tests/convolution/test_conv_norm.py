"""A convolution and its norm in one: the two one after the other are the definition."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.convolution import batch_norm, conv, conv_batch_norm, conv_norm, max_pool
from jaxmeta.models import layers


def draw(*shape, seed=0):
    return jnp.asarray(np.random.RandomState(seed).randn(*shape))


def problem(channels=1, size=5):
    w = draw(3, 3, channels, 4, seed=1)
    return draw(3, size, size, channels), w, 1 + draw(4, seed=2), draw(4, seed=3)


def apart(x, w, s, b, stride=1):
    return batch_norm(conv(x, w, stride=stride), s, b)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [4, 5])
@pytest.mark.parametrize("channels", [1, 2])
def test_values(x64, channels, size, stride):
    args = problem(channels, size)
    got = conv_batch_norm(*args, stride=stride)
    for a, b in zip(got, apart(*args, stride=stride), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_pooled(x64):
    x, w, _, b = problem()
    s = jnp.array([1.5, -0.5, 2.0, -1.0])
    got = conv_batch_norm(x, w, s, b, pool=max_pool)
    y, *statistics = apart(x, w, s, b)
    for found, wanted in zip(got, (max_pool(y), *statistics), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_weights(x64):
    """Those of the two one after the other, whatever rows of weight 0 hold."""
    x, w, s, b = problem()
    weights = jnp.array([0.5, 0.0, 2.0])
    y, *wanted = batch_norm(conv(x, w), s, b, weights=weights)
    x = x.at[1].set(jnp.nan)
    got, *found = conv_batch_norm(x, w, s, b, weights=weights)
    np.testing.assert_allclose(got[::2], y[::2], rtol=1e-12, atol=1e-12)
    assert np.isfinite(got).all()
    for a, c in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, c, rtol=1e-12, atol=1e-12)
    assert all(
        np.isfinite(a).all() for a in conv_batch_norm(x, w, s, b, weights=weights * 0)
    )


@pytest.mark.parametrize("blocks", [1, 3])
def test_pooled_in_blocks_with_derivatives_to_second_order(x64, monkeypatch, blocks):
    monkeypatch.setattr(conv_norm, "CACHE", 2**22 if blocks == 1 else 1)
    x, w, s, b = problem(size=6)
    s = jnp.array([1.5, -0.5, 2.0, -1.0])
    ours = functools.partial(conv_batch_norm, pool=max_pool)
    text = jax.jit(ours).lower(x, w, s, b).as_text()
    assert ("stablehlo.while" in text) == (blocks > 1)

    def reference(*args):
        y, mean, var = apart(*args)
        return max_pool(y), mean, var

    second_order(ours, reference, (x, w, s, b), draw(3, 3, 3, 4, seed=4))


def test_derivatives_to_second_order(x64):
    second_order(conv_batch_norm, apart, problem(), draw(3, 5, 5, 4, seed=4))


def second_order(ours, reference, args, weight):
    def loss(f):
        def value(*args):
            y, mean, var = f(*args)
            return jnp.sum(weight * jnp.sin(y)) + jnp.sum(jnp.cos(mean) + jnp.sin(var))

        return value

    got = jax.grad(loss(ours), range(4))(*args)
    for a, b in zip(got, jax.grad(loss(reference), range(4))(*args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)

    def along(
        f,
    ):  # a second derivative: of the gradient, along the gradient's own inputs
        return jax.jit(lambda *x: jax.jvp(jax.grad(loss(f), range(4)), x, x)[1])

    got = along(ours)(*args)
    for a, b in zip(got, along(reference)(*args), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_float32_where_the_mean_is_large(x64):
    # pixels of 1000 +- 1: the covariance is centred before it is summed
    x, w, s, b = problem(size=8)
    x = 1000 + x
    exact = apart(x, w, s, b)[0][:, 1:-1, 1:-1]
    x, w, s, b = (a.astype(jnp.float32) for a in (x, w, s, b))
    found = conv_batch_norm(x, w, s, b)[0][:, 1:-1, 1:-1]
    reference = apart(x, w, s, b)[0][:, 1:-1, 1:-1]
    error, usual = (float(jnp.abs(y - exact).max()) for y in (found, reference))
    assert error <= 3 * usual + 1e-6


@pytest.mark.parametrize("norm", ["batch", "batch_running"])
def test_the_network_computes_the_same(x64, norm, monkeypatch):
    model = jm.models.conv4(3, filters=2, blocks=2, norm=norm)
    x = draw(4, 8, 8, 1)
    meta = jax.tree.map(
        lambda p: p.astype(jnp.float64), model.init(jax.random.key(0), x)
    )

    def run():
        key = jax.random.key(1)
        return jax.jit(lambda meta: model.apply(meta, x, train=True, key=key))(meta)

    once = run()
    monkeypatch.setattr(layers, "FEW", 0)
    twice = run()
    for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(twice), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
