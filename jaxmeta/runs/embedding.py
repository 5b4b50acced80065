"""The features that a trained network has of somebody's photographs."""

import os
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from jaxmeta import data
from jaxmeta.core import Array, Key
from jaxmeta.data import DataError
from jaxmeta.data.cache import Cache
from jaxmeta.data.photographs import Progress
from jaxmeta.functional import augment
from jaxmeta.runs.backbone import Backbone
from jaxmeta.runs.errors import ConfigError

BATCH = (
    4  # pictures at a time: one program, whatever their number; few stay in the cache
)
Say = Callable[[str], None]


def embed_photographs(
    backbone: Backbone,
    root: str | Path,
    out: str | Path,
    *,
    views: int = 1,
    skip_damaged: bool = False,
    cache: Cache = True,
    note: Say = lambda line: None,
    progress: Callable[[str], Progress | None] = lambda what: None,
) -> Path:
    """Writes the features of a folder of photographs, for `--dataset npz` and NumPy.

    Args:
      backbone: the network.
      root: a folder with a folder a class.
      out: FILE.npz, with inputs `[n, d]` (`[n, views, d]` of several), labels `[n]` and
        names.
      views: as of `adapt_photographs`.
      skip_damaged: likewise.
      cache: likewise.
      note: likewise.
      progress: likewise.

    Returns:
      The file.

    Raises:
      ConfigError: a folder or pictures that cannot be used; another kind of file.
    """
    out = Path(out)
    if out.suffix != ".npz":
        raise ConfigError("out", out, "a file that ends in .npz")
    if views < 1:
        raise ConfigError("views", views, "an integer >= 1")
    wanted = backbone.model.pictures
    assert wanted is not None  # of every backbone
    try:
        found = data.photographs(
            root,
            wanted,
            damaged=note if skip_damaged else None,
            progress=progress("reading"),
        )
    except (DataError, OSError) as error:
        raise ConfigError("data", root, f"<class>/*.jpg in it: {error}") from error
    made = embedded(backbone, found, views, cache, progress("passing the network"))
    labels = np.repeat(np.arange(len(made.counts)), made.counts)
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            np.savez(
                file, inputs=made.inputs, labels=labels, names=np.array(made.names)
            )
        os.replace(part, out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError("out", out, f"a file that can be written: {error}") from error
    note(f"{out}: {len(labels)} pictures of {len(made.names)} classes, "
         f"{made.inputs.shape[-1]} features each")  # fmt: skip
    return out


def embedded(backbone, found, views, cache, progress) -> data.Dataset:
    return data.embed(
        backbone.model, backbone.meta, found, views=views, augment=another, batch=BATCH,
        cache=cache, progress=progress,
    )  # fmt: skip


def another(key: Key, image: Array) -> Array:
    """The picture, mirrored or not, and moved by up to an eighth of its side."""
    flip_key, crop_key = jax.random.split(key)
    moved = augment.crop(crop_key, image, padding=image.shape[0] // 8)
    return augment.flip(flip_key, moved)
