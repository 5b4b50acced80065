"""CIFAR-FS and FC100: two few-shot splits of the 100 classes of CIFAR-100.

Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; the images are
`cifar-100-binary.tar.gz` at https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import os
import tarfile
import zlib
from pathlib import Path

import numpy as np

from jaxmeta.data.arrays import Dataset, from_labels, take_classes
from jaxmeta.data.class_lists import class_list
from jaxmeta.data.errors import DataError
from jaxmeta.data.splitting import Splits, make_splits

ARCHIVE = "cifar-100-binary.tar.gz"
FOLDER = "cifar-100-binary"
FILES = ("train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt")
RECORD = 2 + 3 * 32 * 32  # superclass, class, red plane, green plane, blue plane
MAX_BYTES = 50_000 * RECORD  # the larger of the two files of images


def cifar_fs(root: str | os.PathLike[str]) -> Splits:
    """Reads CIFAR-FS: CIFAR-100 in 64 / 16 / 20 classes drawn at random.

    All 600 images of a class are used, those of both official files.

    Args:
      root: a folder with `cifar-100-binary.tar.gz`, or with the folder it unpacks to.

    Returns:
      `Splits` with inputs uint8 `[n, 32, 32, 3]`; classes are named like `apple`.

    Raises:
      DataError: a file is missing or damaged, or is not CIFAR-100.

    References:
      Bertinetto, Henriques, Torr, Vedaldi 2019, https://arxiv.org/abs/1805.08136.

    Example:
      >>> splits = cifar_fs("data")  # doctest: +SKIP
      >>> [len(part.names) for part in splits]  # doctest: +SKIP
      [64, 16, 20]
    """
    data, _ = _read(Path(root))
    return make_splits(
        *(
            take_classes(data, class_list("cifar_fs", part, data.names))
            for part in Splits._fields
        )
    )


def fc100(root: str | os.PathLike[str]) -> Splits:
    """Reads FC100: CIFAR-100 in 60 / 20 / 20 classes, split by superclass.

    No superclass is in two splits: test classes are further from the training ones than
    in CIFAR-FS, and accuracy is lower.

    Args:
      root: as in `cifar_fs`.

    Returns:
      `Splits` with inputs uint8 `[n, 32, 32, 3]`.

    Raises:
      DataError: as in `cifar_fs`.

    References:
      Oreshkin, Rodriguez, Lacoste 2018, https://arxiv.org/abs/1805.10123.

    Example:
      >>> splits = fc100("data")  # doctest: +SKIP
      >>> [len(part.names) for part in splits]  # doctest: +SKIP
      [60, 20, 20]
    """
    data, above = _read(Path(root))
    known = tuple(sorted(set(above.values())))
    chosen = {part: class_list("fc100", part, known) for part in Splits._fields}
    return make_splits(
        *(
            take_classes(data, [n for n in data.names if above[n] in names])
            for names in chosen.values()
        )
    )


def _read(root: Path) -> tuple[Dataset, dict[str, str]]:
    """All of CIFAR-100 by class, and class -> superclass."""
    files = _files(root)
    fine, coarse = (files[name].decode().split() for name in FILES[2:])
    raw = np.concatenate([_records(name, files[name]) for name in FILES[:2]])
    if len(fine) != 100 or len(coarse) != 20:
        raise DataError(
            f"cifar: {root} names {len(fine)} classes and {len(coarse)} superclasses, "
            "wants 100 and 20"
        )
    if raw[:, 0].max() > 19 or raw[:, 1].max() > 99:
        raise DataError(f"cifar: {root} has labels out of range, wants CIFAR-100")
    above = {fine[f]: coarse[c] for c, f in np.unique(raw[:, :2], axis=0)}
    images = raw[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return from_labels(images, raw[:, 1], fine), above


def _records(name: str, content: bytes) -> np.ndarray:
    if not content or len(content) % RECORD:
        raise DataError(
            f"cifar: {name} has {len(content)} bytes, wants a multiple of {RECORD}"
        )
    return np.frombuffer(content, np.uint8).reshape(-1, RECORD)


def _files(root: Path) -> dict[str, bytes]:
    """The four files, from a folder or from the archive; nothing is unpacked to disk."""
    for folder in (root / FOLDER, root):
        if all((folder / name).is_file() for name in FILES):
            return {name: (folder / name).read_bytes() for name in FILES}
    archive = root / ARCHIVE if root.is_dir() else root
    if not archive.is_file():
        raise DataError(
            f"cifar: {root} has neither {ARCHIVE} nor {FOLDER}/, wants one of them "
            "(the binary version at https://www.cs.toronto.edu/~kriz/cifar.html)"
        )
    try:
        with tarfile.open(archive) as tar:
            return {name: _member(tar, f"{FOLDER}/{name}") for name in FILES}
    except (OSError, EOFError, KeyError, ValueError, tarfile.TarError, zlib.error) as e:
        raise DataError(
            f"cifar: {archive} is damaged ({e}), wants the official file"
        ) from None


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    info = tar.getmember(name)
    file = tar.extractfile(info) if info.size <= MAX_BYTES else None
    if file is None:
        raise ValueError(f"{name} is no file of at most {MAX_BYTES} bytes")
    return file.read()
