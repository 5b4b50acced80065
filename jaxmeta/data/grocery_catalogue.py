"""Grocery Store's catalogue: one clean picture and one description of each product.

Klasson, Zhang, Kjellström 2019, https://arxiv.org/abs/1901.00711, section 3 (MIT).
"""

import csv
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxmeta.data.arrays import Dataset, from_counts, take_classes
from jaxmeta.data.errors import DataError
from jaxmeta.data.grocery import CLASSES, MAX_BYTES
from jaxmeta.data.images import check_size, decode_all
from jaxmeta.data.zipped import ZIP_ERRORS, damaged

COLUMNS = ("class", "coarse", "description")


class Catalogue(NamedTuple):
    """What a shop knows of its products before anyone has photographed them.

    Attributes:
      pictures: the iconic pictures, one a class.
      descriptions: a few sentences on each class, in the order of `pictures.names`.
      groups: the kind of product that each is one of: "Apple", "Milk".
    """

    pictures: Dataset
    descriptions: tuple[str, ...]
    groups: tuple[str, ...]


def grocery_catalogue(root: str | os.PathLike[str], size: int = 144) -> Catalogue:
    """Reads the iconic pictures and the descriptions of Grocery Store's 81 products.

    Args:
      root: the folder with `iconic.zip` and `classes.csv`, beside the photographs.
      size: height and width of the pictures.

    Returns:
      A `Catalogue` with pictures uint8 `[81, size, size, 3]`.

    Raises:
      DataError: a file is missing or damaged, or is not this set's.

    Example:
      >>> found = grocery_catalogue("data/grocery")  # doctest: +SKIP
      >>> len(found.descriptions), found.groups[-1]  # doctest: +SKIP
      (81, 'Zucchini')
    """
    check_size(size)
    root = Path(root)
    rows = _rows(root / "classes.csv")
    names = tuple(sorted(rows))
    pictures = decode_all(
        _files(root / "iconic.zip", names), count=len(names), size=size, mode="RGB",
        invert=False, formats=("JPEG",),
    )  # fmt: skip
    return Catalogue(
        from_counts(pictures, [1] * len(names), names),
        tuple(rows[name]["description"] for name in names),
        tuple(rows[name]["coarse"] for name in names),
    )


def take_products(catalogue: Catalogue, names: Sequence[str]) -> Catalogue:
    """The catalogue of some products, in the order of a data set of photographs.

    Args:
      catalogue: of `grocery_catalogue`.
      names: classes: `part.names`.

    Returns:
      A `Catalogue`.

    Raises:
      DataError: a name that is no product's.

    Example:
      >>> from jaxmeta.data import from_labels
      >>> three = from_labels([7, 8, 9], [0, 1, 2], ("apple", "milk", "pear"))
      >>> found = Catalogue(three, ("red", "white", "green"), ("fruit", "dairy", "fruit"))
      >>> take_products(found, ["pear", "milk"]).descriptions
      ('green', 'white')
    """
    pictures = take_classes(catalogue.pictures, names)
    at = [catalogue.pictures.names.index(name) for name in pictures.names]
    return Catalogue(
        pictures,
        tuple(catalogue.descriptions[i] for i in at),
        tuple(catalogue.groups[i] for i in at),
    )


def _rows(source: Path) -> dict[str, dict[str, str]]:
    """Class -> its row."""
    wants = f"a table of {CLASSES} classes with {', '.join(COLUMNS)}"
    try:
        with source.open(encoding="utf-8", newline="") as file:
            found = list(csv.DictReader(file))
    except FileNotFoundError:
        raise DataError(f"grocery: {source} is missing, wants {wants}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"grocery: {source} is damaged ({error}), wants {wants}"
        ) from None
    for line, row in enumerate(found, 2):
        for column in COLUMNS:
            if not (row.get(column) or "").strip():
                raise DataError(
                    f"grocery: {source}, row {line} has no {column}, wants {wants}"
                )
    rows = {row["class"]: row for row in found}
    if len(rows) != CLASSES:
        raise DataError(f"grocery: {source} has {len(rows)} classes, wants {wants}")
    return rows


def _files(source: Path, names: tuple[str, ...]):
    """The pictures in order, each with a name for errors."""
    if not source.is_file():
        raise DataError(
            f"grocery: {source} is missing, wants <class>.jpg of {len(names)} classes"
        )
    try:
        with zipfile.ZipFile(source) as archive:
            there = {i.filename: archive.read(i) for i in _small(archive)}
    except ZIP_ERRORS as error:
        raise damaged(source, "grocery", error) from None
    for name in names:
        if f"{name}.jpg" not in there:
            raise DataError(
                f"grocery: {source} has no {name}.jpg of at most 8 MiB, wants one"
            )
        yield f"{source}:{name}.jpg", there[f"{name}.jpg"]


def _small(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    return [info for info in archive.infolist() if info.file_size <= MAX_BYTES]
