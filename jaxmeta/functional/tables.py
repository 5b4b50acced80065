"""Tables as networks read them: numbers, categories, cells that are missing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.core import Array
from jaxmeta.functional.rows import spread
from jaxmeta.shapes import Float

CODES = 8  # numbers that tell one category from another
CHANNELS = 4 + CODES  # numbers a cell
SIGNATURE = 16  # numbers that tell one column from another


class Table(NamedTuple):
    """Rows of a table, as `Batch.inputs`.

    Attributes:
      values: `[n, f]`; NaN is a missing cell. A column without one value in the support
        set is not there: so tables of fewer columns share a compiled shape.
      categorical: `[n, f]`, 1 where the value is the number of a category, else 0; the
        same in all rows.
    """

    values: Array
    categorical: Array


class Columns(NamedTuple):
    """What the support set says of its columns.

    Attributes:
      mean: `[f]`.
      std: `[f]`; 1 for a column of one value.
      there: boolean `[f]`, whether there is a value at all.
    """

    mean: Array
    std: Array
    there: Array


def as_table(inputs: Array | Table) -> Table:
    """A `Table` of what a batch holds: an array `[n, f]` is one of numbers alone.

    Raises:
      ValueError: for another shape.

    >>> as_table(jnp.ones((2, 3))).categorical.sum().item()
    0.0
    """
    if not isinstance(inputs, Table):
        inputs = Table(inputs, jnp.zeros_like(inputs))
    if inputs.values.ndim != 2:
        raise ValueError(
            f"inputs: got shape {list(inputs.values.shape)}, wants a table [n, columns]"
        )
    return inputs


def columns_of(
    values: Float[Array, "n f"], weights: Float[Array, " n"] | None = None
) -> Columns:
    """Mean and standard deviation of each column, over the values that there are.

        m_j = sum_i w_ij v_ij / sum_i w_ij,    w_ij = w_i [v_ij is there]

    Args:
      values: `[n, f]`, NaN where missing.
      weights: `[n]`, or `None` for all 1.

    Returns:
      `Columns`.

    >>> found = columns_of(jnp.array([[1.0, jnp.nan], [3.0, jnp.nan]]))
    >>> found.mean.tolist(), found.std.tolist(), found.there.tolist()
    ([2.0, 0.0], [1.0, 1.0], [True, False])
    """
    seen = ~jnp.isnan(values)
    w = seen.astype(values.dtype)
    if weights is not None:
        w = w * spread(weights.astype(values.dtype), values)
    total = w.sum(0)
    count = jnp.where(total > 0, total, 1)
    filled = jnp.where(seen, values, 0)
    mean = (w * filled).sum(0) / count
    std = jnp.sqrt((w * (filled - mean) ** 2).sum(0) / count)
    # rounding of a constant is no spread
    flat = std <= 1e-6 * jnp.abs(mean)
    return Columns(mean, jnp.where(flat, 1, std), total > 0)


def cells(table: Table, columns: Columns) -> Float[Array, "n f channels"]:
    """Every cell as a few numbers, by statistics of the support set alone.

        [clip(z, -5, 5), asinh(z), missing, categorical, cos(w_j c + b_j) ...]

    z is the standardised value; the cosines tell one category c from another, which a
    line cannot, and are 0 for numbers.

    Args:
      table: `n` rows.
      columns: of the support set.

    Returns:
      `[n, f, CHANNELS]`, finite.
    """
    values, dtype = table.values, table.values.dtype
    missing = jnp.isnan(values)
    filled = jnp.where(missing, columns.mean, values)
    z = (filled - columns.mean) / columns.std
    named = table.categorical.astype(dtype) * ~missing
    turns = jnp.arange(1, CODES + 1, dtype=dtype)
    # irrational steps: no two of the first hundreds of categories have like codes
    angles = filled[..., None] * (2.39996 * turns) + turns**2
    codes = named[..., None] * jnp.cos(angles)
    own = [jnp.clip(z, -5, 5), jnp.arcsinh(z), missing, table.categorical]
    return jnp.concatenate([jnp.stack([x.astype(dtype) for x in own], -1), codes], -1)


def signatures(columns: int, dtype) -> Array:
    """`[columns, SIGNATURE]`: fixed random numbers by which columns can be told apart."""

    def one(j):
        key = jax.random.fold_in(jax.random.key(0), j)
        return jax.random.normal(key, (SIGNATURE,), "float32")

    return jax.vmap(one)(jnp.arange(columns, dtype="int32")).astype(dtype)
