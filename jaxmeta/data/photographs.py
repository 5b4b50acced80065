"""Photographs as a trained network wants them, decoded on all cores."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from jaxmeta.core import Pictures
from jaxmeta.data.arrays import Dataset, from_counts
from jaxmeta.data.errors import DataError
from jaxmeta.data.folders import list_classes
from jaxmeta.data.images import Square, check_size, decode
from jaxmeta.functional.threads import cpu_threads

Progress = Callable[[int, int], None]
"""Called with how many are done, and how many there are."""


def photographs(
    root: str | os.PathLike[str],
    pictures: Pictures,
    *,
    damaged: Callable[[str], None] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Reads `root/<class>/*.png|jpg|jpeg` the way a network's test pictures were made.

    Args:
      root: a folder with a folder a class.
      pictures: what the network wants: `Model.pictures`.
      damaged: called with a line about each picture that cannot be decoded, which is
        then left out; `None`: the first such is an error.
      threads: decoders at a time; `None`: a core each.
      progress: called after each picture.

    Returns:
      A `Dataset` with inputs uint8 `[n, size, size, 3]`.

    Raises:
      DataError: no such folder, no classes in it, a class without a picture, a picture
        that is broken or of another format.

    Example:
      >>> from jaxmeta.core import Pictures
      >>> data = photographs("my-products", Pictures(224))  # doctest: +SKIP
      >>> data.inputs.shape  # doctest: +SKIP
      (60, 224, 224, 3)
    """
    classes = list_classes(root)
    paths = [path for found in classes.values() for path in found]
    inputs, kept = load_photographs(
        paths, pictures, damaged=damaged, threads=threads, progress=progress
    )
    labels = np.repeat(np.arange(len(classes)), [len(p) for p in classes.values()])
    counts = np.bincount(labels[kept], minlength=len(classes))
    for name, count in zip(classes, counts, strict=True):
        if count == 0:
            raise DataError(f"class {name!r}: all its pictures are damaged, wants one")
    return from_counts(inputs, counts, (*classes,))


def load_photographs(
    files: Sequence[str | Path | tuple[str, bytes]],
    pictures: Pictures,
    *,
    damaged: Callable[[str], None] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Decodes pictures of any size and orientation for a trained network.

    Each is turned the way its EXIF tag says; the square about its centre with
    `pictures.crop` of the shorter side is resized to `pictures.size`. Transparency
    becomes white paper; 16-bit, palette, grey and CMYK files become 8-bit colour. A JPEG
    much larger than that is decoded at a half to an eighth of its sides.

    Args:
      files: paths of PNG or JPEG files, or a name and the bytes of one.
      pictures: what the network wants: `Model.pictures`.
      damaged: as of `photographs`.
      threads: as of `photographs`.
      progress: as of `photographs`.

    Returns:
      `(uint8 [m, size, size, 3], the numbers [m] of the files that they are)`.

    Raises:
      DataError: a file that is missing, broken, of another format, or too large.

    >>> from jaxmeta.core import Pictures
    >>> load_photographs([], Pictures(32))[0].shape
    (0, 32, 32, 3)
    """
    from PIL import Image

    side = check_size(pictures.size)
    square = Square(pictures.crop, pictures.resample)

    def read(file) -> np.ndarray | DataError:
        name, content = file if isinstance(file, tuple) else (str(file), Path(file))
        try:
            return decode(name, content, side, "RGB", cut=square)
        except DataError as error:
            return error

    images = np.empty((len(files), *side, 3), np.uint8)
    kept = np.ones(len(files), bool)
    # Pillow only warns of a picture that is up to twice its own limit.
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(threads or cpu_threads()) as pool,
    ):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            for i, found in enumerate(pool.map(read, files)):
                if isinstance(found, DataError):
                    if damaged is None:
                        raise found
                    damaged(str(found))
                    kept[i] = False
                else:
                    images[i] = found
                if progress is not None:
                    progress(i + 1, len(files))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # nobody waits for the rest
            raise
    where = np.flatnonzero(kept)
    return (images if kept.all() else images[where]), where


def bar(what: str) -> Progress:
    """A bar on stderr that shows how far something is.

    Where stderr is no terminal, a line at the start of each quarter.

    Args:
      what: is going on.

    Returns:
      A `progress` for `embed` and `photographs`.

    >>> progress = bar("embedding")
    """
    shown, quarter = None, -1

    def progress(done: int, total: int) -> None:
        nonlocal shown, quarter
        if not sys.stderr.isatty():
            now = 4 * done // max(total, 1)
            if now > quarter:
                print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)
            quarter = now
            return
        shown = tqdm(total=total, desc=what) if shown is None else shown
        shown.update(done - shown.n)
        if done >= total:
            shown.close()

    return progress
