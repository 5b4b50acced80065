"""Regression of sine waves, the toy task of Finn et al. 2017, section 5.1.

https://arxiv.org/abs/1703.03400
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.core import Batch, Episode, Key
from jaxmeta.tasks.inputs import traced_once
from jaxmeta.tasks.padded import of_sizes


def sinusoid(
    shots: int | tuple[int, int] = 10, queries: int | tuple[int, int] = 10
) -> Partial:
    """Builds the task of regressing a sine wave of unknown amplitude and phase.

    `y = A sin(x - p)` with `A ~ U[0.1, 5]`, `p ~ U[0, pi]` and `x ~ U[-5, 5]`, all of
    them independent.

    Args:
      shots: support points; `(low, high)` for a random number of them in each episode,
        by weights, as `varying` does.
      queries: query points, likewise.

    Returns:
      A task, `key -> Episode`: inputs `[m, 1]` and targets `[m, 1]`.

    Raises:
      ValueError: a number below 1, or bounds that are none.

    References:
      Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400, section 5.1.

    Example:
      >>> episode = sinusoid(shots=5)(jax.random.key(0))
      >>> episode.support.inputs.shape, episode.query.targets.shape
      ((5, 1), (10, 1))
    """
    return of_sizes(_Sinusoid, shots, queries)


@dataclass(frozen=True)
class _Sinusoid:
    """The static half of a task, compared by value: an equal task is compiled once."""

    shots: int
    queries: int

    @traced_once
    def __call__(self, key: Key) -> Episode:
        wave_key, phase_key, x_key = jax.random.split(key, 3)
        amplitude = jax.random.uniform(wave_key, minval=0.1, maxval=5.0)
        phase = jax.random.uniform(phase_key, minval=0.0, maxval=jnp.pi)
        points = (self.shots + self.queries, 1)
        x = jax.random.uniform(x_key, points, minval=-5.0, maxval=5.0)
        y = amplitude * jnp.sin(x - phase)

        def batch(rows: slice) -> Batch:
            return Batch(x[rows], y[rows])

        return Episode(batch(slice(self.shots)), batch(slice(self.shots, None)))
