"""Grocery Store: 5,421 photographs of 81 products, taken by phone in shops.

Klasson, Zhang, Kjellström 2019, A Hierarchical Grocery Store Image Dataset with Visual
and Semantic Labels, https://arxiv.org/abs/1901.00711 (MIT).
"""

import hashlib
import json
import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmeta.data.arrays import Dataset, from_counts, take_classes
from jaxmeta.data.cache import Cache, cached
from jaxmeta.data.errors import DataError
from jaxmeta.data.images import check_size, decode_all
from jaxmeta.data.splitting import Splits, make_splits
from jaxmeta.data.zipped import ZIP_ERRORS, damaged, names_in

CLASSES = 81
PICTURES = {"train": 2640, "val": 296, "test": 2485}
MAX_BYTES = 2**23  # of one picture, unpacked
VERSION = 1  # of the way from files to arrays; a new one makes old caches useless


class Grocery(NamedTuple):
    """The published parts: the same 81 products in each, in other photographs.

    They are no `Splits`, whose classes differ: who learns from `train` is tested on new
    pictures of what it has seen.

    Attributes:
      train: 2,640 photographs, 16 to 70 a class.
      val: 296, of 60 of the classes; the others have a count of 0.
      test: 2,485, 10 to 68 a class.
    """

    train: Dataset
    val: Dataset
    test: Dataset


def grocery(
    root: str | os.PathLike[str], size: int = 144, *, cache: Cache = True
) -> Grocery:
    """Reads the Grocery Store set from `train.zip`, `val.zip` and `test.zip`.

    The zip files hold `<class>/<name>.jpg`; they are read as they are, none is unpacked.

    Args:
      root: the folder with the three files.
      size: height and width of the pictures.
      cache: where the decoded pictures are kept: a folder; True for `jaxmeta` in the
        user's cache folder; False for nowhere.

    Returns:
      A `Grocery` with inputs uint8 `[n, size, size, 3]`, whose three parts have their
      classes in one order.

    Raises:
      DataError: a file is missing or damaged, or is not this set.

    Example:
      >>> [len(part.inputs) for part in grocery("data/grocery")]  # doctest: +SKIP
      [2640, 296, 2485]
    """
    check_size(size)
    sources = {part: Path(root) / f"{part}.zip" for part in PICTURES}
    listed = {part: _list(source, part) for part, source in sources.items()}
    names = tuple(listed["train"])
    for part, found in listed.items():
        strange = sorted(set(found) - set(names))
        if strange:
            raise DataError(f"grocery: {part} has {strange[0]!r}, which train lacks")
    return Grocery(
        *(_part(sources[part], listed[part], names, size, cache) for part in PICTURES)
    )


def grocery_splits(
    root: str | os.PathLike[str], size: int = 144, *, cache: Cache = True
) -> Splits:
    """The Grocery Store set with its classes split in 45 / 15 / 21: for new products.

    All photographs of a product are in one split. In the order of their names, of 27
    classes 15 are trained on, 5 chosen by and 7 tested on, spread evenly: kinds of
    apples are in all three, as they are in a shop.

    Args:
      root: as of `grocery`.
      size: as of `grocery`.
      cache: as of `grocery`.

    Returns:
      `Splits` with inputs uint8 `[n, size, size, 3]`.

    Raises:
      DataError: as of `grocery`.

    Example:
      >>> [len(part.names) for part in grocery_splits("data/grocery")]  # doctest: +SKIP
      [45, 15, 21]
    """
    return split_products(grocery(root, size, cache=cache))


def split_products(parts: Grocery) -> Splits:
    """`grocery_splits` of what has been read, or embedded.

    Args:
      parts: the three parts, with their classes in one order.

    Returns:
      `Splits`.
    """
    whole = _together(parts)
    names = sorted(whole.names)
    # 7 and 27 have no factor in common: every place of a period comes once
    place = [7 * i % 27 for i in range(len(names))]
    bounds = ((12, 27), (7, 12), (0, 7))
    return make_splits(
        *(
            take_classes(
                whole, [n for n, p in zip(names, place, strict=True) if a <= p < b]
            )
            for a, b in bounds
        )
    )


def _together(parts: Grocery) -> Dataset:
    """All photographs of each class."""
    labels = [np.repeat(np.arange(len(p.counts)), p.counts) for p in parts]
    order = np.argsort(np.concatenate(labels), kind="stable")
    inputs = np.concatenate([p.inputs for p in parts])[order]
    return from_counts(inputs, sum(p.counts for p in parts), parts.train.names)


def _list(source: Path, part: str) -> dict[str, list[str]]:
    """Class -> its pictures inside the zip file, both in order."""
    if not source.is_file():
        raise DataError(f"grocery: {source} is missing, wants train, val and test.zip")
    listed: dict[str, list[str]] = {}
    for name in sorted(names_in(source, "grocery", most=MAX_BYTES)):
        if match := re.fullmatch(r"([^/]+)/[^/.][^/]*\.jpg", name):
            listed.setdefault(match[1], []).append(name)
    count = sum(map(len, listed.values()))
    if count != PICTURES[part]:
        raise DataError(
            f"grocery: {source} has {count} pictures, wants {PICTURES[part]}"
        )
    if part != "val" and len(listed) != CLASSES:
        raise DataError(f"grocery: {source} has {len(listed)} classes, wants {CLASSES}")
    return listed


def _part(
    source: Path,
    listed: dict[str, list[str]],
    names: tuple[str, ...],
    size: int,
    cache: Cache,
) -> Dataset:
    counts = [len(listed.get(name, ())) for name in names]
    sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
    key = json.dumps(["grocery", VERSION, "lanczos", size, sha256, names])

    def files():
        with zipfile.ZipFile(source) as archive:
            for name in names:
                for member in listed.get(name, ()):
                    try:
                        content = archive.read(member)
                    except ZIP_ERRORS as error:
                        raise damaged(source, "grocery", error) from None
                    yield f"{source}:{member}", content

    def build() -> Dataset:
        inputs = decode_all(
            files(), count=sum(counts), size=size, mode="RGB", invert=False,
            formats=("JPEG",),
        )  # fmt: skip
        return from_counts(inputs, counts, names)

    return cached(f"grocery-{source.stem}", key, build, cache)
