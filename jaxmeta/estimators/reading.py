"""The compiled programs behind the estimators: few shapes, whatever the table."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.core import Batch, Meta, PyTree
from jaxmeta.estimators.columns import standards
from jaxmeta.functional.tables import Table
from jaxmeta.recipes.packed import trained

QUERIES = 128  # rows answered at a time: one shape for all
KEPT = 2**23  # numbers of a table that has been read; 32 MB


def bucket(n: int, least: int) -> int:
    """A size that holds `n`, at most an eighth more where `n` is large.

    Tables of like sizes share a compiled program. What is added is read as all else is, so
    that a coarse ladder costs more than it saves: attention grows with the square.

    Args:
      n: what must fit.
      least: the smallest size; all others are multiples of it.

    >>> [bucket(n, 32) for n in (1, 33, 288, 500)]
    [32, 64, 288, 512]
    """
    step = least * 2 ** max(0, (n // (8 * least)).bit_length() - 1)
    return max(least, -(-n // step) * step)


@functools.lru_cache(maxsize=8)
def _programs(weights: str):
    fitted, meta, _ = trained(weights)

    @jax.jit
    def adapt(meta: Meta, table: Table, targets, rows) -> PyTree:
        return fitted.learner.adapt(
            meta, Batch(table, targets, rows), jax.random.key(0)
        )

    @jax.jit
    def believe(meta: Meta, fast: PyTree, table: Table):
        logits = fitted.believe(meta, fast, table)
        return logits, fast.target.mean[0], fast.target.std[0]

    # parameters are arguments: as constants, the compiler would work on each of them
    return functools.partial(adapt, meta), functools.partial(believe, meta)


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


class Reader:
    """A network that is shown a table, and then asked about other rows.

    The table is read at the first question. What the network made of it is kept for the
    next ones where that is small, but not in copies of this object.

    Args:
      weights: of which network.
      x: `[n, f]`.
      categorical: boolean `[f]`.
      targets: `[n, c]`.
      room: rows that the compiled program has room for, at least `n`: tables with the same
        room, columns and `c` share one.
    """

    def __init__(
        self,
        weights: str,
        x: np.ndarray,
        categorical: np.ndarray,
        targets: np.ndarray,
        room: int,
    ):
        self._weights, self._categorical = weights, categorical
        self._x, self._targets = x, targets
        # in float64: a large offset would eat the digits of float32
        self._centre, self._scale = _spread(x, categorical)
        self._rows, self._columns = bucket(room, 32), bucket(x.shape[1], 8)
        self._fast: PyTree = None

    def __getstate__(self):
        return {**self.__dict__, "_fast": None}

    def __call__(self, queries: np.ndarray) -> tuple[np.ndarray, float, float]:
        """`(logits [m, .], mean, std of the target)` of rows `[m, f]`."""
        _, believe = _programs(self._weights)
        fast = self._read() if self._fast is None else self._fast
        if sum(leaf.size for leaf in jax.tree.leaves(fast)) <= KEPT:
            self._fast = fast
        found, mean, std = [], 0.0, 1.0
        for start in range(0, len(queries), QUERIES):
            part = queries[start : start + QUERIES]
            logits, mean, std = believe(fast, self._shown(part, QUERIES))
            found.append(np.asarray(logits, float)[: len(part)])
        return np.concatenate(found), float(mean), float(std)

    def _read(self) -> PyTree:
        adapt, _ = _programs(self._weights)
        n = len(self._x)
        filled = np.zeros((self._rows, self._targets.shape[1]), "float32")
        filled[:n] = self._targets
        weights = (np.arange(self._rows) < n).astype("float32")
        return adapt(self._shown(self._x, self._rows), filled, weights)

    def _shown(self, x: np.ndarray, rows: int) -> Table:
        values = (x - self._centre) / self._scale
        return padded(values, self._categorical, rows, self._columns)


def _spread(x: np.ndarray, categorical: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    centre, scale = standards(x)
    flat = categorical | (scale <= 1e-9 * np.abs(centre)) | (scale == 0)
    return np.where(categorical, 0, centre), np.where(flat, 1, scale)
