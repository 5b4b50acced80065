"""Tiny task distributions with a known answer, for tests that take seconds."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.core import Batch, Episode, Key
from jaxmeta.tasks.inputs import traced_once


def probe(
    ways: int = 3,
    shots: int = 2,
    queries: int = 4,
    *,
    signal: int = 4,
    noise: int = 4,
    loudness: float = 3.0,
) -> Partial:
    """Classes that differ in a few quiet dimensions, hidden beside a few loud ones.

        m_k ~ N(0, I_signal),  x = [m_k + 0.3 e, loudness * e'],  e, e' ~ N(0, I)

    Distances between raw inputs are mostly noise, so an untrained learner does badly;
    a learner that has seen other tasks of the family knows which dimensions to trust.

    Args:
      ways: classes.
      shots: support examples a class.
      queries: query examples a class.
      signal: informative dimensions.
      noise: uninformative dimensions.
      loudness: their standard deviation.

    Returns:
      A task, `key -> Episode`, with inputs `[n, signal + noise]` and one-hot targets `[n, ways]`.

    >>> probe()(jax.random.key(0)).query.targets.shape
    (12, 3)
    """

    return Partial(_Probe(ways, shots, queries, signal, noise, loudness))


@dataclass(frozen=True)
class _Probe:
    """The static half of the task, compared by value: an equal task is compiled once."""

    ways: int
    shots: int
    queries: int
    signal: int
    noise: int
    loudness: float

    @traced_once
    def __call__(self, key: Key) -> Episode:
        centre_key, support_key, query_key = jax.random.split(key, 3)
        centres = jax.random.normal(centre_key, (self.ways, self.signal))

        def draw(key, each):
            near, far = jax.random.split(key)
            labels = jnp.repeat(jnp.arange(self.ways), each)
            quiet = centres[labels]
            quiet += 0.3 * jax.random.normal(near, (self.ways * each, self.signal))
            loud = self.loudness * jax.random.normal(
                far, (self.ways * each, self.noise)
            )
            inputs = jnp.concatenate([quiet, loud], 1)
            return Batch(inputs, jax.nn.one_hot(labels, self.ways, dtype=inputs.dtype))

        return Episode(draw(support_key, self.shots), draw(query_key, self.queries))
