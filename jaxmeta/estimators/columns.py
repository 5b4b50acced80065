"""Columns of someone's table as numbers: categories get one each, missing cells NaN."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.special


class Columns:
    """What was learned of the columns of a table when an estimator was fitted.

    Args:
      declared: numbers or names of columns that are categories, whatever they hold.
    """

    def __init__(self, declared: Sequence[int | str] = ()):
        self.declared = tuple(declared)

    def fit(self, x: Any) -> "Columns":
        """Which columns are categories: those declared, and those of text or booleans.

        Args:
          x: a DataFrame, or an array `[n, f]`.
        """
        columns, names = _columns(x)
        self.names = names if hasattr(x, "iloc") else None
        unknown = [c for c in self.declared if c not in names and not _at(c, columns)]
        if unknown:
            raise ValueError(
                f"categorical_features: got {unknown[0]!r}, wants numbers or names of "
                "columns"
            )
        self.categories: list[dict[Any, int] | None] = []
        for i, (name, column) in enumerate(zip(names, columns, strict=True)):
            told = name in self.declared or i in self.declared
            if told or not _numeric(column):
                # in order of their text: the same whatever the order of the rows
                seen = sorted({_key(v) for v in column if not _missing(v)}, key=str)
                self.categories.append({v: j for j, v in enumerate(seen)})
            else:
                self.categories.append(None)
        return self

    @property
    def categorical(self) -> np.ndarray:
        """Boolean `[f]`."""
        return np.array([c is not None for c in self.categories], bool)

    def transform(self, x: Any) -> np.ndarray:
        """float64 `[n, f]`: a category that was not there in `fit` is a missing cell."""
        columns, names = _columns(x)
        if self.names is not None and hasattr(x, "iloc") and names != self.names:
            raise ValueError(
                f"X: got columns {names}, wants {self.names}, in this order"
            )
        if len(columns) != len(self.categories):
            return np.empty((len(columns[0]) if columns else 0, len(columns)))
        found = [
            np.asarray(_floats(column))
            if known is None
            else np.array([known.get(_key(v), np.nan) for v in column], float)
            for column, known in zip(columns, self.categories, strict=True)
        ]
        return np.stack(found, 1)


def _at(c: Any, columns: list) -> bool:
    return isinstance(c, int | np.integer) and 0 <= int(c) < len(columns)


def _columns(x: Any) -> tuple[list[np.ndarray], list[Any]]:
    if hasattr(x, "iloc"):
        return [_plain(x.iloc[:, i]) for i in range(x.shape[1])], list(x.columns)
    x = np.asarray(x)
    return [x[:, i] for i in range(x.shape[1])], list(range(x.shape[1]))


def _plain(series: Any) -> np.ndarray:
    """A column of a DataFrame as an array: numbers as float64, the rest as objects."""
    kind = getattr(series.dtype, "kind", "O")
    if kind in "iuf":
        return series.to_numpy(float, na_value=np.nan)
    if kind == "M":  # times: their distance means something
        # in one unit, whichever the column is kept in
        count = series.dt.as_unit("us").astype("int64").to_numpy(float)
        return np.where(series.isna(), np.nan, count)
    return series.astype(object).to_numpy()


def _numeric(column: np.ndarray) -> bool:
    if column.dtype.kind in "iuf":
        return True
    if column.dtype.kind == "b":
        return False
    held = [v for v in column if not _missing(v)]
    for v in held:
        if not isinstance(v, str | bytes | bool | np.bool_ | int | float | np.number):
            raise TypeError(
                f"argument must be a string or a number, got {type(v).__name__}"
            )
    return all(isinstance(v, int | float | np.number) for v in held) and not any(
        isinstance(v, bool | np.bool_) for v in held
    )


def _missing(v: Any) -> bool:
    # pandas' own missing value is neither equal nor unequal to itself
    return v is None or type(v).__name__ in ("NAType", "NaTType") or v != v


def _key(v: Any) -> Any:
    return v.item() if isinstance(v, np.generic) else v


def _floats(column: np.ndarray) -> np.ndarray:
    if column.dtype.kind in "iufb":
        return column.astype(float)
    return np.array([np.nan if _missing(v) else float(v) for v in column], float)


def standards(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, missing cells left out.

    Args:
      x: `[n, f]`, NaN where missing; of any size: the square of 1e200 is no number, and
        columns are taken in units of their largest value.

    >>> mean, std = standards(np.array([[1e300], [3e300], [np.nan]]))
    >>> f"{mean[0]:.3g}, {std[0]:.3g}"
    '2e+300, 1e+300'
    """
    there = ~np.isnan(x)
    count = np.maximum(there.sum(0), 1)
    size = np.abs(np.where(there, x, 0)).max(0, initial=0)
    unit = np.where(size > 0, size, 1)
    z = np.where(there, x / unit, 0)
    mean = z.sum(0) / count
    std = np.sqrt((there * (z - mean) ** 2).sum(0) / count)
    return mean * unit, std * unit


def ranked(x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Columns as normal scores of their ranks among those of `seen`.

        z = Phi^-1(rank / n)

    Args:
      x: `[m, f]`, NaN where missing.
      seen: `[n, f]`.

    >>> ranked(np.array([[9.0]]), np.array([[1.0], [3.0], [1e6]])).round(2).tolist()
    [[0.43]]
    """
    out = np.full(x.shape, np.nan)
    for j in range(x.shape[1]):
        known = np.sort(seen[~np.isnan(seen[:, j]), j])
        if not len(known):
            continue
        there = ~np.isnan(x[:, j])
        sides = [
            np.searchsorted(known, x[there, j], side) for side in ("left", "right")
        ]
        share = (sides[0] + sides[1]) / (2 * len(known))
        margin = 0.5 / len(known)
        out[there, j] = scipy.special.ndtri(np.clip(share, margin, 1 - margin))
    return out
