"""Bars with half-normal tails are a distribution."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.functional.bars import bar_log_prob, bar_moments, bar_quantile

BORDERS = jnp.array([-2.0, -1.2, -0.1, 0.4, 1.1, 3.0])


def test_bars_integrate_to_one_and_their_moments_are_those_of_the_density():
    logits = 0.8 * jax.random.normal(jax.random.key(0), (5,))
    grid = jnp.linspace(-15, 25, 20_001)
    density = np.exp(
        bar_log_prob(jnp.broadcast_to(logits, (grid.size, 5)), BORDERS, grid)
    )
    step = 40 / 20_000
    assert abs(density.sum() * step - 1) < 2e-3
    mean, std = bar_moments(logits, BORDERS)
    want = (density * grid).sum() * step
    assert abs(mean - want) < 1e-2
    assert abs(std - np.sqrt((density * (grid - want) ** 2).sum() * step)) < 1e-2
    below = np.cumsum(density) * step
    for level in (0.02, 0.3, 0.5, 0.9):
        at = np.interp(level, below, grid)
        assert abs(bar_quantile(logits, BORDERS, level) - at) < 2e-2
