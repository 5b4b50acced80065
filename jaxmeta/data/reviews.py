"""Bags of words in svmlight files; the Amazon reviews that domain adaptation is tried on.

Blitzer et al. 2007, Biographies, Bollywood, Boom-boxes and Blenders (ACL); files as in
the release of Ganin et al. 2016, https://arxiv.org/abs/1505.07818.
"""

import gzip
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmeta.data.arrays import Dataset, from_labels
from jaxmeta.data.errors import DataError

FEATURES = 5000
NAMES = ("negative", "positive")


class Domain(NamedTuple):
    """One domain; both parts have the same classes.

    Attributes:
      train: to learn from: 2,000 reviews of each Amazon domain.
      test: to report on.
    """

    train: Dataset
    test: Dataset


def svmlight(path: str | Path, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads `label index:value ...` lines, zero-based, gzipped if the name ends in .gz.

    Args:
      path: the file.
      features: how many columns there are.

    Returns:
      float32 `[n, features]` and the labels, float64 `[n]`.

    Raises:
      DataError: a file that cannot be read, or is something else.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "a.svmlight"
    ...     _ = path.write_text("1 0:2 3:1.5\\n0 1:1\\n")
    ...     svmlight(path, 4)[0].tolist()
    [[2.0, 0.0, 0.0, 1.5], [0.0, 1.0, 0.0, 0.0]]
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
        lines = [line.split("#", 1)[0] for line in raw.decode("ascii").splitlines()]
        lines = [line for line in lines if line.strip()]
        entries = np.array([line.count(":") for line in lines])
        # all numbers of the file at once; a line of k entries has 1 + 2k of them
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns of what is no number
            text = " ".join(lines).replace(":", " ")
            numbers = np.fromstring(text, np.float64, sep=" ")
    except (OSError, EOFError, zlib.error, ValueError, DeprecationWarning) as error:
        raise DataError(f"{path}: got {error}, wants a svmlight file") from error
    if not lines or len(numbers) != (1 + 2 * entries).sum():
        raise DataError(f"{path}: wants lines of `label index:value ...`")
    starts = np.cumsum(1 + 2 * entries) - (1 + 2 * entries)
    rest = np.delete(numbers, starts).reshape(-1, 2)
    columns = rest[:, 0]
    if len(columns) and (
        columns.min() < 0 or columns.max() >= features or (columns % 1).any()
    ):
        raise DataError(
            f"{path}: got columns {columns.min():g} to {columns.max():g}, "
            f"wants integers from 0 to {features - 1}"
        )
    inputs = np.zeros((len(lines), features), np.float32)
    inputs[np.repeat(np.arange(len(lines)), entries), columns.astype(int)] = rest[:, 1]
    return inputs, numbers[starts]


def amazon_reviews(
    root: str | Path,
    domains: Sequence[str] | None = None,
    *,
    features: int | None = None,
    total: int = FEATURES,
) -> dict[str, Domain]:
    """Reads `<domain>_train.svmlight.gz` and `<domain>_test.svmlight.gz`, word counts.

    Args:
      root: the folder with the files.
      domains: their names; by default all that the folder holds.
      features: keep so many words, the most frequent by the number of training reviews
        of the chosen domains that they are in (labels play no part); `None` keeps all.
      total: columns of the files.

    Returns:
      Domain name -> `Domain`; inputs are float32 `[n, features]` counts, classes
      "negative" and "positive".

    Raises:
      DataError: no such domain, a file that cannot be read, other labels than two.
    """
    root = Path(root)
    found = sorted(p.name.split("_train.")[0] for p in root.glob("*_train.svmlight*"))
    names = found if domains is None else list(domains)
    for name in names:
        if name not in found:
            have = ", ".join(found) or "no *_train.svmlight.gz"
            raise DataError(f"domain {name!r}: got {have} in {root}, wants its files")
    if not names:
        raise DataError(f"{root}: got no *_train.svmlight.gz, wants one a domain")
    parts = {
        name: [_read(root, f"{name}_{part}", total) for part in Domain._fields]
        for name in names
    }
    if features is not None and features < total:
        frequency = sum((train[0] > 0).sum(0) for train, _ in parts.values())
        # in the order of the columns, so that `features` alone decides what is kept
        kept = np.sort(np.argsort(-frequency, kind="stable")[:features])
        parts = {n: [(x[:, kept], y) for x, y in p] for n, p in parts.items()}
    return {
        name: Domain(*(from_labels(x, y, NAMES) for x, y in part))
        for name, part in parts.items()
    }


def _read(root: Path, stem: str, total: int) -> tuple[np.ndarray, np.ndarray]:
    path = root / f"{stem}.svmlight.gz"
    path = path if path.is_file() else root / f"{stem}.svmlight"
    inputs, labels = svmlight(path, total)
    values = np.unique(labels)
    if len(values) != 2:
        raise DataError(f"{path}: got labels {values.tolist()}, wants two of them")
    return inputs, (labels == values[1]).astype(np.int64)
