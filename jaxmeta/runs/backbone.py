"""A trained network of somebody's, from a file that an option names."""

import functools
from pathlib import Path
from typing import NamedTuple

from jaxmeta import models
from jaxmeta.core import Meta, Model
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.files import expanded
from jaxmeta.runs.usage import Release


class Backbone(NamedTuple):
    """A trained network.

    Attributes:
      name: for people.
      model: without a head, with `pictures`.
      meta: its parameters.
    """

    name: str
    model: Model
    meta: Meta


def load_backbone(
    file: str | Path, field: str = "backbone", *, pictures: Release | None = None
) -> Backbone:
    """Reads a `.safetensors` file by `models.load`.

    Args:
      file: the file.
      field: the option that names it: what errors are about.
      pictures: as of `models.load`.

    Raises:
      ConfigError: what cannot be read, or is no network that is known.
    """
    path = expanded(file)
    if not path.is_file():
        wants = "FILE.safetensors: a trained network of timm, torchvision or the Hub"
        raise ConfigError(field, f"{file}, which is no file", wants)
    try:
        return _load(path.resolve(), path.stat().st_mtime_ns, pictures)
    except (ValueError, OSError) as error:
        raise ConfigError(field, file, f"a network that is known: {error}") from error


@functools.lru_cache(maxsize=4)
def _load(path: Path, changed: int, pictures: Release | None) -> Backbone:
    """One network for all who ask: of two that are alike each is compiled."""
    return Backbone(path.stem, *models.load(path, pictures=pictures))
