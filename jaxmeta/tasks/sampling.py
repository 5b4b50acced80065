"""Choosing without replacement, exactly and without touching what is not chosen."""

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Key


def choose(key: Key, n: int | Array, k: int) -> Array:
    """Draws an ordered sample of `k` different numbers from `0 .. n - 1`.

    Each of the `n! / (n - k)!` ordered samples is equally likely. Draw `i` is the rank
    of the new number among the `n - i` numbers not yet taken. With the taken numbers
    sorted as `s_0 < s_1 < ...`, the number of rank `r` is `r + #{m : s_m - m <= r}`.
    The cost is `O(k^2)` whatever `n` is, and `n` may be a tracer: classes of unequal
    size need neither padding nor a mask.

    Args:
      key: a random key.
      n: how many there are to choose from; an array asks for a sample, independent of
        the others, for each of its elements. Where `n < k` the first `n` are an ordered
        sample of all, and the others mean nothing.
      k: how many to choose.

    Returns:
      int32 `[*n.shape, k]`.

    Example:
      >>> sorted(choose(jax.random.key(0), 4, 4).tolist())
      [0, 1, 2, 3]
    """
    left = jnp.asarray(n, jnp.int32)[..., None] - jnp.arange(k, dtype=jnp.int32)
    left = jnp.maximum(left, 1)
    # In one call and in one row: each call costs compile time, several axes cost more.
    ranks = jax.random.randint(key, (left.size,), 0, left.ravel(), jnp.int32)
    unrank = jnp.vectorize(_unrank, signature="(k)->(k)")
    return unrank(ranks.reshape(left.shape))


def _unrank(ranks: Array) -> Array:
    """Turns ranks among what is left, `[k]`, into the numbers themselves."""
    slots = jnp.arange(len(ranks), dtype=jnp.int32)

    def draw(taken, rank):
        below = jnp.sum(taken - slots <= rank).astype(jnp.int32)
        number = rank + below
        # Insert, so that `taken` stays sorted; its unused slots hold the largest int32,
        # which is below nothing.
        shifted = jnp.where(slots > below, jnp.roll(taken, 1), taken)
        return jnp.where(slots == below, number, shifted), number

    empty = jnp.full(ranks.shape, jnp.iinfo(jnp.int32).max, jnp.int32)
    return jax.lax.scan(draw, empty, ranks)[1]
