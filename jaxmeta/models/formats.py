"""What a file of weights is recognised as, and how its names and layouts are turned."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxmeta.core import Model, Pictures

Shapes = Mapping[str, tuple[int, ...]]


class Known(NamedTuple):
    """A network that a file was recognised as.

    Attributes:
      name: what it is called in messages.
      build: `(ways, pictures) -> Model`.
      ways: classes of the file's head, or `None`.
      pictures: what its published weights were trained with.
      rename: from a path here to the name in the file.
      spare: names in the file that nobody needs: counters, another tower.
      convert: `(path here, array) -> array`.
      releases: all that have these names and shapes, where they are several, by name.
    """

    name: str
    build: Callable[[int | None, Pictures | None], Model]
    ways: int | None
    pictures: Pictures
    rename: Callable[[str], str]
    spare: Callable[[str], Any]
    convert: Callable[[str, np.ndarray], np.ndarray]
    releases: Mapping[str, Pictures] = MappingProxyType({})


LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "mean": "running_mean",
    "var": "running_var",
}
"""What PyTorch calls the leaves of a layer; a bias is a bias."""


def renamed(path: str, names: Mapping[str, str]) -> str:
    """The name in a file of a path here: part by part, "block3" by the row "block#".

    "#" is the number and "@" one less.

    >>> renamed("params/block3/expand/kernel", {"block#": "blocks.@", "expand": "conv1"})
    'blocks.2.conv1.weight'
    """
    parts = []
    for part in path.split("/")[1:]:
        found = re.fullmatch(r"(.*?)(\d+)", part)
        if part not in names and found and f"{found[1]}#" in names:
            number = int(found[2])
            part = names[f"{found[1]}#"].replace("#", str(number))
            parts.append(part.replace("@", str(number - 1)))
        else:
            parts.append(names.get(part, LEAVES.get(part, part)))
    return ".".join(parts)


def transposed(path: str, array: np.ndarray) -> np.ndarray:
    """PyTorch's [out, in, ...] as [..., in, out]."""
    if not path.endswith("kernel"):
        return array
    return array.transpose(*range(2, array.ndim), 1, 0)


def counter(name: str) -> bool:
    """Of batches seen: PyTorch's alone."""
    return name.endswith("num_batches_tracked")


def rows(shapes: Shapes, name: str) -> int | None:
    """Outputs of a layer, if the file has it."""
    return shapes[name][0] if name in shapes else None


def count(shapes: Shapes, name: str) -> int:
    """How many there are, from 0 on without a gap.

    >>> count({"blocks.0.a": (), "blocks.1.a": (), "blocks.3.a": ()}, "blocks.{}.a")
    2
    """
    n = 0
    while name.format(n) in shapes:
        n += 1
    return n


def prefix(shapes: Shapes, name: str) -> str | None:
    """What stands before a name that files have with and without a prefix.

    >>> prefix({"vit.layernorm.weight": ()}, "layernorm.weight")
    'vit.'
    """
    return next((n.removesuffix(name) for n in shapes if n.endswith(name)), None)
