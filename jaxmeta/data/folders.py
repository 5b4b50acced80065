"""Folders of files, one folder a class: images, and recordings of sound."""

import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jaxmeta.data.arrays import Dataset, from_counts
from jaxmeta.data.duplicates import find_duplicates
from jaxmeta.data.errors import DataError
from jaxmeta.data.images import Mode, load_images
from jaxmeta.data.splitting import Splits, make_splits


class Files(NamedTuple):
    """The files that a reader takes.

    Attributes:
      suffixes: the ends of their names.
      one: what one is called in errors.
      wants: what is wanted, in words.
      others: suffixes of files that somebody may take for such. Left out in silence, one
        would be a smaller class than its owner believes.
    """

    suffixes: tuple[str, ...]
    one: str
    wants: str
    others: tuple[str, ...]


IMAGES = Files(
    (".png", ".jpg", ".jpeg"),
    "image",
    "PNG or JPEG",
    (".bmp", ".gif", ".heic", ".tif", ".tiff", ".webp"),
)
SOUNDS = Files(
    (".wav",),
    "recording",
    "WAV",
    (".aac", ".aiff", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wma"),
)


def image_folder(
    root: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] = 28,
    mode: Mode = "L",
    invert: bool = False,
    trim: bool = False,
) -> Dataset:
    """Reads `root/<class>/*.png|jpg|jpeg`; classes and files are in sorted order.

    `split_classes` makes classes to train on and to test on of them, by their names.

    Files of other kinds and hidden ones are left out. Images become what `load_images`
    makes of them.

    Args:
      root: a folder with a folder a class.
      size: height and width, one number if they are equal.
      mode: "L" for one channel of grey, "RGB" for three of colour.
      invert: turn black into white, as `omniglot` does.
      trim: cut each drawing to the square around its ink, as `load_images` does.

    Returns:
      A `Dataset` with inputs uint8 `[n, height, width, channels]`.

    Raises:
      DataError: no such folder, no classes in it, a class with no images, or an image
        that is broken or of another format.

    Example:
      >>> data = image_folder("my-images", size=84, mode="RGB")  # doctest: +SKIP
      >>> data.names  # doctest: +SKIP
      ('cat', 'dog')
    """
    classes = list_classes(root)
    inputs = load_images(
        [path for paths in classes.values() for path in paths],
        size=size,
        mode=mode,
        invert=invert,
        trim=trim,
    )
    return from_counts(inputs, [len(paths) for paths in classes.values()], (*classes,))


def image_folder_splits(
    root: str | os.PathLike[str],
    *,
    size: int | tuple[int, int] = 28,
    mode: Mode = "L",
    invert: bool = False,
    trim: bool = False,
) -> Splits:
    """Reads `root/train`, `root/val` and `root/test`, each as `image_folder` does.

    Args:
      root: a folder with folders `train`, `val` and `test`.
      size: as in `image_folder`.
      mode: as in `image_folder`.
      invert: as in `image_folder`.
      trim: as in `image_folder`.

    Returns:
      `Splits`. An image that is, pixel for pixel, in two of them is worth a warning
      that names it.

    Raises:
      DataError: as in `image_folder`, or a class name in two of the three, as folders
        for ordinary classification have them.

    Example:
      >>> splits = image_folder_splits("my-images")  # doctest: +SKIP
      >>> splits.test.names  # doctest: +SKIP
      ('emu', 'fox')
    """
    parts = [
        image_folder(Path(root) / name, size=size, mode=mode, invert=invert, trim=trim)
        for name in Splits._fields
    ]
    try:
        splits = make_splits(*parts)
    except DataError as error:
        raise DataError(
            f"{error}. Move each class folder of {root} into one of train, val and test, "
            f"or read one of them, such as {Path(root) / 'train'}, as a folder of its own: "
            "`split_classes` splits its classes"
        ) from None
    twice = find_duplicates(splits)
    if twice:
        warnings.warn(
            f"{root}: {len(twice)} images are in two splits, first {twice[0]}",
            stacklevel=2,
        )
    return splits


def list_classes(
    root: str | os.PathLike[str], *, files: Files = IMAGES
) -> dict[str, list[Path]]:
    """Returns class -> sorted files, without opening one.

    Args:
      root: a folder with a folder a class.
      files: which ones: `IMAGES` or `SOUNDS`.

    Returns:
      The classes in sorted order; each has at least one file.

    Raises:
      DataError: as in `image_folder`.
    """
    root = Path(root)
    wants = f"{root}/<class>/*{files.suffixes[0]}"
    if not root.is_dir():
        raise DataError(f"folder {root}: is missing, wants {wants}")
    folders = _sorted(path for path in root.iterdir() if path.is_dir())
    if not folders:
        raise DataError(f"folder {root}: has no class folder, wants {wants}")
    return {folder.name: _of_class(folder, files) for folder in folders}


def _of_class(folder: Path, files: Files) -> list[Path]:
    """The files of a class, sorted."""
    paths = _sorted(path for path in folder.iterdir() if path.is_file())
    for path in paths:
        if path.suffix.lower() in files.others:
            raise DataError(
                f"{files.one} {path}: is {path.suffix}, wants {files.wants}"
            )
    found = [path for path in paths if path.suffix.lower() in files.suffixes]
    if not found:
        below = _sorted(path for path in folder.iterdir() if path.is_dir())
        hint = (
            f"; it has folders ({below[0].name}, ...): is it a split?" if below else ""
        )
        raise DataError(
            f"class {folder.name!r}: no {files.one}s in {folder}, "
            f"wants {files.wants}{hint}"
        )
    return found


def _sorted(paths: Iterable[Path]) -> list[Path]:
    """Visible paths by name: the order of a listing differs between machines."""
    return sorted(path for path in paths if not path.name.startswith("."))
