"""Small versions of `benchmarks/distillation.py`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

d = pytest.importorskip("benchmarks.distillation", reason="benchmarks/ is not here")


@pytest.fixture(scope="module")
def problem():
    """Ten patterns, one a class, in noise."""
    draw = np.random.default_rng(0)
    patterns, y = draw.normal(size=(10, 784)), draw.integers(0, 10, 400)
    x = 0.5 * patterns[y] + draw.normal(size=(400, 784))
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32)


@pytest.mark.parametrize("kind", ["fixed", "kernel"])
def test_ten_images_are_learned_that_teach(problem, kind, monkeypatch):
    monkeypatch.setattr(d, "STEPS", 3)
    hypers, losses, start = d.distil(
        problem, 0.03, jax.random.key(0), kind=kind, steps=60
    )
    assert losses[-5:].mean() < 0.7 * losses[:5].mean()
    noise = d.begin(jax.random.key(1))
    if kind == "kernel":
        answer = jax.jit(lambda h, x: d.kernel_ridge(h["images"], x))
    else:
        answer = jax.jit(lambda h, x: d.outputs(d.after(h, start), x))
    found = [answer(h, problem[0]) for h in (noise, hypers)]
    before, now = (float(d.percent(x, problem[1])) for x in found)
    assert before < 35 and now > 60, (before, now)


def test_rates_of_the_steps_are_used_and_have_a_gradient():
    start, hypers = d.initial(jax.random.key(0)), d.begin(jax.random.key(1))
    images, rates = hypers["images"], jnp.array([0.1, 0.02])
    by_hand, slope_of = start, jax.jit(jax.grad(d.loss))
    for rate in rates:
        slope = slope_of(by_hand, images, d.LABELS)
        by_hand = jax.tree.map(lambda p, g, rate=rate: p - rate * g, by_hand, slope)

    @jax.jit
    def ended(rates):
        end = ravel_pytree(d.learn(start, images, rates))[0]
        return jnp.sum(end), end

    (_, found), grad = jax.value_and_grad(ended, has_aux=True)(rates)
    np.testing.assert_allclose(found, ravel_pytree(by_hand)[0], atol=1e-6)
    # the last rate moves the end along the last gradient
    np.testing.assert_allclose(grad[1], -jnp.sum(ravel_pytree(slope)[0]), rtol=1e-3)


def test_the_kernel_is_that_of_a_wide_network():
    """Mean over 40,000 hidden units of products of derivatives, by their own gradients."""
    width, weight, bias = 40_000, 2.0, 0.01
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(keys[0], (4, 6))
    w1, b1, w2 = (jax.random.normal(k, s) for k, s in zip(
        keys[1:], ((6, width), (width,), (width,)), strict=True))  # fmt: skip

    def net(params, x):
        w1, b1, w2, b2 = params
        h = jax.nn.relu(x @ w1 * (weight / 6) ** 0.5 + bias**0.5 * b1)
        return h @ w2 * (weight / width) ** 0.5 + bias**0.5 * b2

    rows = jax.vmap(lambda x: ravel_pytree(jax.grad(net)((w1, b1, w2, 0.0), x))[0])(x)
    np.testing.assert_allclose(rows @ rows.T, d.tangent(x, x), rtol=0.05, atol=0.05)


def test_kernel_ridge_is_the_formula_of_the_paper(problem):
    images, x = problem[0][:10], problem[0][10:15]
    among = d.tangent(images, images)
    system = among + 1e-2 * jnp.trace(among) / 10 * jnp.eye(10)
    wanted = d.tangent(x, images) @ jnp.linalg.solve(system, jnp.eye(10) - 0.1)
    found = jax.jit(d.kernel_ridge)(images, x, 1e-2)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    np.testing.assert_allclose(
        jax.jit(d.kernel_ridge)(images, images), jnp.eye(10) - 0.1, atol=1e-3
    )
