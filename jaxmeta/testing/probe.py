"""Tiny task distributions with a known answer, for tests that take seconds."""

import jax
import jax.numpy as jnp

from jaxmeta.core import Batch, Episode, Task


def probe(
    ways: int = 3,
    shots: int = 2,
    queries: int = 4,
    *,
    signal: int = 4,
    noise: int = 4,
    loudness: float = 3.0,
) -> Task:
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
      A `Task` with inputs `[n, signal + noise]` and one-hot targets `[n, ways]`.

    >>> probe()(jax.random.key(0)).query.targets.shape
    (12, 3)
    """

    def task(key):
        centre_key, support_key, query_key = jax.random.split(key, 3)
        centres = jax.random.normal(centre_key, (ways, signal))

        def draw(key, each):
            near, far = jax.random.split(key)
            labels = jnp.repeat(jnp.arange(ways), each)
            quiet = centres[labels]
            quiet += 0.3 * jax.random.normal(near, (ways * each, signal))
            loud = loudness * jax.random.normal(far, (ways * each, noise))
            inputs = jnp.concatenate([quiet, loud], 1)
            return Batch(inputs, jax.nn.one_hot(labels, ways, dtype=inputs.dtype))

        return Episode(draw(support_key, shots), draw(query_key, queries))

    return task
