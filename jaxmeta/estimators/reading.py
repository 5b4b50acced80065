"""The compiled programs behind the estimators: few shapes, whatever the table."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.core import Batch, PyTree
from jaxmeta.estimators.weights import trained
from jaxmeta.functional.tables import Table

QUERIES = 128  # rows answered at a time: one shape for all


def bucket(n: int, least: int) -> int:
    """The smallest `least` 4^k that holds `n`: tables of like sizes share a program.

    >>> [bucket(n, 32) for n in (1, 33, 500)]
    [32, 128, 512]
    """
    size = least
    while size < n:
        size *= 4
    return size


@functools.lru_cache(maxsize=8)
def _programs(weights: str):
    fitted, meta, _ = trained(weights)

    @jax.jit
    def adapt(table: Table, targets, rows) -> PyTree:
        return fitted.learner.adapt(
            meta, Batch(table, targets, rows), jax.random.key(0)
        )

    @jax.jit
    def believe(fast: PyTree, table: Table):
        logits = fitted.believe(meta, fast, table)
        return logits, fast.target.mean[0], fast.target.std[0]

    return adapt, believe


def padded(
    values: np.ndarray, categorical: np.ndarray, rows: int, columns: int
) -> Table:
    """A `Table` of a fixed shape: what is added is missing."""
    full = np.full((rows, columns), np.nan, "float32")
    # far outside of all that was seen is far enough: float32 must hold its square
    full[: values.shape[0], : values.shape[1]] = np.clip(values, -1e6, 1e6)
    kinds = np.zeros((rows, columns), "float32")
    kinds[:, : len(categorical)] = categorical
    return Table(jnp.asarray(full), jnp.asarray(kinds))


def read(
    weights: str, x: np.ndarray, categorical: np.ndarray, targets: np.ndarray
) -> Callable[[np.ndarray], tuple[np.ndarray, float, float]]:
    """Shows a network a table.

    Args:
      weights: of which network.
      x: `[n, f]`.
      categorical: boolean `[f]`.
      targets: `[n, c]`.

    Returns:
      `queries [m, f] -> (logits [m, .], mean, std of the target)`.
    """
    adapt, believe = _programs(weights)
    n, f = x.shape
    rows, columns = bucket(n, 32), bucket(f, 8)
    # in float64: a large offset would eat the digits of float32
    centre, scale = _spread(x, categorical)
    table = padded((x - centre) / scale, categorical, rows, columns)
    filled = np.zeros((rows, targets.shape[1]), "float32")
    filled[:n] = targets
    fast = adapt(table, filled, (np.arange(rows) < n).astype("float32"))

    def ask(queries: np.ndarray):
        found, mean, std = [], 0.0, 1.0
        for start in range(0, len(queries), QUERIES):
            part = queries[start : start + QUERIES]
            shown = padded((part - centre) / scale, categorical, QUERIES, columns)
            logits, mean, std = believe(fast, shown)
            found.append(np.asarray(logits, float)[: len(part)])
        return np.concatenate(found), float(mean), float(std)

    return ask


def _spread(x: np.ndarray, categorical: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    there = ~np.isnan(x)
    count = np.maximum(there.sum(0), 1)
    filled = np.where(there, x, 0)
    centre = filled.sum(0) / count
    scale = np.sqrt((there * (filled - centre) ** 2).sum(0) / count)
    flat = categorical | (scale <= 1e-9 * np.abs(centre)) | (scale == 0)
    return np.where(categorical, 0, centre), np.where(flat, 1, scale)
