"""Sine or line: a few noisy points do not say which.

Finn, Xu, Levine 2018, Probabilistic Model-Agnostic Meta-Learning,
https://arxiv.org/abs/1806.02817, section 6.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.checks import not_negative, within
from jaxmeta.core import Batch, Episode, Key
from jaxmeta.tasks.inputs import traced_once
from jaxmeta.tasks.padded import of_sizes


def sine_or_line(
    shots: int | tuple[int, int] = 5,
    queries: int | tuple[int, int] = 10,
    *,
    noise: float = 0.3,
    sines: float = 0.5,
) -> Partial:
    """Builds the task of regressing a curve that may be a sine wave or a straight line.

        y = A sin(x - p) + e    A ~ U[0.1, 5],  p ~ U[0, pi]        or
        y = a x + b + e         a, b ~ U[-3, 3],      e ~ N(0, noise^2),  x ~ U[-5, 5]

    Args:
      shots: support points; `(low, high)` for a random number of them in each episode,
        by weights, as `varying` does.
      queries: query points, likewise.
      noise: standard deviation of the targets, support and query; 0.3 as published.
      sines: how often the curve is a sine wave.

    Returns:
      A task, `key -> Episode`: inputs `[m, 1]` and targets `[m, 1]`.

    Raises:
      ValueError: a number that does not fit.

    >>> sine_or_line(shots=5)(jax.random.key(0)).support.inputs.shape
    (5, 1)
    """
    not_negative(noise=noise)
    within("[0, 1]", sines=sines)
    return of_sizes(_SineOrLine, shots, queries, noise, sines)


@dataclass(frozen=True)
class _SineOrLine:
    """The static half of a task, compared by value: an equal task is compiled once."""

    shots: int
    queries: int
    noise: float
    sines: float

    @traced_once
    def __call__(self, key: Key) -> Episode:
        kind, wave, phase, line, where, error = jax.random.split(key, 6)
        points = (self.shots + self.queries, 1)
        x = jax.random.uniform(where, points, minval=-5.0, maxval=5.0)
        amplitude = jax.random.uniform(wave, minval=0.1, maxval=5.0)
        shift = jax.random.uniform(phase, minval=0.0, maxval=jnp.pi)
        slope, offset = jax.random.uniform(line, (2,), minval=-3.0, maxval=3.0)
        y = jnp.where(
            jax.random.bernoulli(kind, self.sines),
            amplitude * jnp.sin(x - shift),
            slope * x + offset,
        )
        y += self.noise * jax.random.normal(error, points)

        def batch(rows: slice) -> Batch:
            return Batch(x[rows], y[rows])

        return Episode(batch(slice(self.shots)), batch(slice(self.shots, None)))
