"""Which network a file of weights is of, by its names and shapes, and what is called what."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxmeta.core import Model, Pictures
from jaxmeta.models.efficientnet_lite0 import efficientnet_lite0

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
    """

    name: str
    build: Callable[[int | None, Pictures | None], Model]
    ways: int | None
    pictures: Pictures
    rename: Callable[[str], str]
    spare: Callable[[str], Any]
    convert: Callable[[str, np.ndarray], np.ndarray]


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


def _rows(shapes: Shapes, name: str) -> int | None:
    return shapes[name][0] if name in shapes else None


# (x - 127) / 128 of bytes
_LITE = Pictures(224, (127 / 255,) * 3, (128 / 255,) * 3)
_LITE_NAMES = {
    "stem": "_conv_stem", "stem_norm": "_bn0", "top": "_conv_head", "top_norm": "_bn1",
    "head": "_fc", "block#": "_blocks.@", "expand": "_expand_conv", "expand_norm": "_bn0",
    "depthwise": "_depthwise_conv", "depthwise_norm": "_bn1",
    "project": "_project_conv", "project_norm": "_bn2",
}  # fmt: skip


def efficientnet(shapes: Shapes) -> Known | None:
    """The names of the PyTorch release of EfficientNet-Lite0."""
    if (
        "_conv_stem.weight" not in shapes
        or "_blocks.0._depthwise_conv.weight" not in shapes
    ):
        return None
    return Known(
        "EfficientNet-Lite0",
        lambda ways, pictures: efficientnet_lite0(ways, pictures=pictures),
        _rows(shapes, "_fc.weight"),
        _LITE,
        lambda path: renamed(path, _LITE_NAMES),
        counter,
        transposed,
    )


FORMATS: tuple[Callable[[Shapes], Known | None], ...] = (efficientnet,)
"""Each looks at a file's names and shapes, and says whether they are its own."""
