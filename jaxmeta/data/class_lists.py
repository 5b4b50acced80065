"""Which class is in which split: facts about published benchmarks."""

import json
from collections.abc import Iterable
from importlib.resources import files

from jaxmeta.data.errors import DataError


def class_list(benchmark: str, part: str, known: Iterable[str]) -> list[str]:
    """The classes of one split, after a check that the data have all of them.

    Args:
      benchmark: "cifar_fs", "fc100" (superclasses) or "mini_imagenet" (WordNet ids).
      part: "train", "val" or "test".
      known: the classes that the data have.

    Returns:
      Names, sorted.

    Raises:
      DataError: a class that the data do not have.

    Example:
      >>> class_list("fc100", "val", [])  # doctest: +IGNORE_EXCEPTION_DETAIL
      Traceback (most recent call last):
      jaxmeta.data.errors.DataError: fc100: the data lack 4 of the 4 classes of val...
    """
    names = published(benchmark)[part]
    lacking = sorted(set(names) - set(known))
    if lacking:
        raise DataError(
            f"{benchmark}: the data lack {len(lacking)} of the {len(names)} classes of "
            f"{part}, first {lacking[0]!r}"
        )
    return names


def published(benchmark: str) -> dict[str, list[str]]:
    """Split -> names of classes."""
    table = json.loads((files("jaxmeta.data") / "few_shot_classes.json").read_text())
    return table[benchmark]
