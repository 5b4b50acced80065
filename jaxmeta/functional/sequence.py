"""A set of examples as a sequence: in random order, padding out of the way."""

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Batch, Key


def presented(batch: Batch, key: Key) -> tuple[Batch, Array]:
    """Puts examples in random order, one after another.

    Padding rows (targets all zero) come first, so that a causal network can be told to
    start after them. The order of the real ones does not depend on how much padding
    there is, nor where: each draws a number by its rank among the real ones.

    Args:
      batch: `n` examples.
      key: decides the order.

    Returns:
      `(batch, real)`: the same rows in another order, and a boolean `[n]`.

    >>> targets = jnp.array([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    >>> presented(Batch(jnp.arange(3), targets), jax.random.key(0))[1].tolist()
    [False, True, True]
    """
    real = jnp.any(batch.targets != 0, -1)
    ranks = jnp.cumsum(real) - 1

    def draw(rank):
        return jax.random.uniform(jax.random.fold_in(key, rank))

    order = jnp.argsort(jnp.where(real, jax.vmap(draw)(ranks), -1.0))
    return jax.tree.map(lambda x: x[order], batch), real[order]


def joined(first: Batch, second: Batch) -> Batch:
    """The examples of two batches as one.

    >>> joined(Batch(jnp.ones(2), jnp.ones((2, 1))), Batch(jnp.ones(1), jnp.ones((1, 1))))
    Batch(inputs=Array([1., 1., 1.], dtype=float32), targets=Array([[1.],
           [1.],
           [1.]], dtype=float32))
    """
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), first, second)
