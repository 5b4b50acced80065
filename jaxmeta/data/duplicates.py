"""Examples that are in two splits: what a test must not have seen."""

import hashlib
from typing import NamedTuple

import numpy as np

from jaxmeta.data.arrays import Dataset
from jaxmeta.data.splitting import Splits


class Duplicate(NamedTuple):
    """One example that is in two splits.

    Attributes:
      first: `(split, class, number within the class)`.
      second: the same, of a later split.
    """

    first: tuple[str, str, int]
    second: tuple[str, str, int]

    def __str__(self) -> str:
        (a, b, i), (c, d, j) = self
        return f"{a}/{b}[{i}] = {c}/{d}[{j}]"


def find_duplicates(splits: Splits) -> list[Duplicate]:
    """Finds examples of one split that are, bit for bit, in another.

    Classes of different names can share a picture. Pictures that were resized or
    compressed anew are not found.

    Args:
      splits: as a reader returns them.

    Returns:
      Every example of `val` and `test` that an earlier split has, with the first place
      where it has it.

    Example:
      >>> from jaxmeta.data import from_counts, make_splits
      >>> rows = np.array([[1, 2], [3, 4]]), np.array([[5, 6]]), np.array([[3, 4]])
      >>> parts = [from_counts(x, [len(x)], (n,)) for x, n in zip(rows, "abc")]
      >>> [str(d) for d in find_duplicates(make_splits(*parts))]
      ['train/a[1] = test/c[0]']
    """
    seen: dict[bytes, tuple[str, int]] = {}
    found = []
    for part in Splits._fields:
        data = getattr(splits, part)
        digests = [_digest(row) for row in data.inputs]
        for i, digest in enumerate(digests):
            if digest in seen:
                before, j = seen[digest]
                first = _place(before, getattr(splits, before), j)
                found.append(Duplicate(first, _place(part, data, i)))
        for i, digest in enumerate(digests):  # after: pairs inside a split do no harm
            seen.setdefault(digest, (part, i))
    return found


def _digest(row: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(row).tobytes(), digest_size=16).digest()


def _place(part: str, data: Dataset, row: int) -> tuple[str, str, int]:
    """The class of a row, and its number within it."""
    c = int(np.searchsorted(data.starts, row, side="right")) - 1
    return part, data.names[c], row - int(data.starts[c])
