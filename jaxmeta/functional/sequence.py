"""A set of examples as a sequence: in random order, padding out of the way."""

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Batch, Key
from jaxmeta.functional.rows import rows_at, weights_of
from jaxmeta.shapes import Bool


def presented(batch: Batch, key: Key) -> tuple[Batch, Bool[Array, " n"]]:
    """Puts examples in random order, one after another.

    Padding rows (those of weight 0) come first, so that a causal network can be told to
    start after them. The order of the real ones does not depend on how much padding
    there is, nor where: each draws a number by its rank among the real ones.

    Args:
      batch: `n` examples.
      key: decides the order.

    Returns:
      `(batch, real)`: the same rows in another order, and a boolean `[n]`.

    >>> batch = Batch(jnp.arange(3), jnp.eye(3), jnp.array([1.0, 0.0, 1.0]))
    >>> presented(batch, jax.random.key(0))[1].tolist()
    [False, True, True]
    """
    real = weights_of(batch) > 0
    ranks = jnp.cumsum(real) - 1

    def draw(rank):
        return jax.random.uniform(jax.random.fold_in(key, rank))

    order = jnp.argsort(jnp.where(real, jax.vmap(draw)(ranks), -1.0))
    return rows_at(batch, order), real[order]
