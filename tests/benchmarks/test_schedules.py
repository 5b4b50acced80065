"""Small versions of `benchmarks/schedules.py`."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import schedules as s


def test_every_step_has_its_rate_and_the_last_one_its_slope():
    """Momentum by hand; the last rate moves the end along the last momentum."""
    draw = np.random.default_rng(0)
    rows = jnp.asarray(draw.normal(size=(30, 4)), jnp.float32), jnp.arange(30) % 10
    key, rates = jax.random.key(0), jnp.log(jnp.array([0.3, 0.05, 0.2]))
    first, rest = jax.random.split(key)
    params = s.NET.init(first, rows[0][:1]).params
    slope_of = jax.jit(jax.grad(lambda p, batch: s.errors(p, batch)[0]))
    momentum = jax.tree.map(jnp.zeros_like, params)
    for k, rate in enumerate(jnp.exp(rates)):
        batch = s.some(rows, jax.random.fold_in(rest, k), s.BATCH)
        slope = slope_of(params, batch)
        momentum = jax.tree.map(lambda m, g: 0.9 * m + g, momentum, slope)
        params = jax.tree.map(lambda p, m, r=rate: p - r * m, params, momentum)

    @jax.jit
    def ended(rates):
        found = s.trained(rates, rows, key)
        return s.errors(found, rows)[0], found

    (_, found), grad = jax.value_and_grad(ended, has_aux=True)(rates)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, params
    )
    along = jax.tree.map(jnp.vdot, slope_of(params, rows), momentum)
    wanted = -rate * sum(jax.tree.leaves(along))
    np.testing.assert_allclose(grad[-1], wanted, rtol=1e-3)


def test_a_line_and_a_constant_are_what_they_say():
    for name, (start, spread) in s.LEARNED.items():
        np.testing.assert_allclose(spread(jnp.array(start)), s.START, err_msg=name)
    line = np.asarray(s.LEARNED["a line"][1](jnp.array([1.0, -2.0])))
    np.testing.assert_allclose(line[[0, 25]], [1, 0], atol=1e-6)
