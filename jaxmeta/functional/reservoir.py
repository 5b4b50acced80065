"""A memory of fixed size that holds a fair sample of all it was shown.

Vitter 1985, Random Sampling with a Reservoir, https://doi.org/10.1145/3147.3165.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Key, PyTree
from jaxmeta.shapes import Float


class Reservoir(NamedTuple):
    """Kept examples.

    Attributes:
      rows: leaves `[capacity, ...]`; places that nothing was put in hold zeros.
      shown: how many examples there have been, an integer.
    """

    rows: PyTree
    shown: Array


def empty_reservoir(row: PyTree, capacity: int) -> Reservoir:
    """A memory with nothing in it.

    Args:
      row: an example, for its shapes.
      capacity: how many are kept.

    Returns:
      A `Reservoir`.

    Raises:
      ValueError: if `capacity < 1`.

    >>> empty_reservoir(jnp.ones(3), 2).rows.shape
    (2, 3)
    """
    at_least(1, capacity=capacity)
    rows = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), row)
    return Reservoir(rows, jnp.zeros((), jnp.int32))


def kept(reservoir: Reservoir, row: PyTree, key: Key) -> Reservoir:
    """Shows the memory one more example.

    Example number i (from 0) goes to place j, drawn evenly from 0 to i, if there is
    such a place: after n examples each of them is kept with probability capacity / n.
    The first fill the places in order.

    Args:
      reservoir: the memory.
      row: the example.
      key: decides whether it is kept, and for which other.

    Returns:
      The memory afterwards.

    >>> memory = empty_reservoir(jnp.ones(()), 2)
    >>> for i in range(2):
    ...     memory = kept(memory, jnp.asarray(i + 5.0), jax.random.key(i))
    >>> memory.rows.tolist()
    [5.0, 6.0]
    """
    capacity = len(jax.tree.leaves(reservoir.rows)[0])
    i = reservoir.shown
    drawn = jax.random.randint(key, (), 0, i + 1)
    at = jnp.where(i < capacity, i, drawn)  # past the end: nothing is written
    rows = jax.tree.map(
        lambda old, new: old.at[at].set(new, mode="drop"), reservoir.rows, row
    )
    return Reservoir(rows, i + 1)


def recalled(
    reservoir: Reservoir, count: int, key: Key
) -> tuple[PyTree, Float[Array, " count"]]:
    """Draws examples from the memory, with replacement.

    Args:
      reservoir: the memory.
      count: how many.
      key: decides which.

    Returns:
      `(rows, weights)`: leaves `[count, ...]`, and `[count]` of 1, or of 0 where there is
      nothing in the memory.

    >>> rows, weights = recalled(empty_reservoir(jnp.ones(3), 2), 4, jax.random.key(0))
    >>> rows.shape, weights.tolist()
    ((4, 3), [0.0, 0.0, 0.0, 0.0])
    """
    capacity = len(jax.tree.leaves(reservoir.rows)[0])
    there = jnp.minimum(reservoir.shown, capacity)
    at = jax.random.randint(key, (count,), 0, jnp.maximum(there, 1))
    rows = jax.tree.map(lambda x: x[at], reservoir.rows)
    return rows, jnp.full(count, there > 0, jnp.float32)
