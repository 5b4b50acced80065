"""Hashes of the files of a data set: the only thing that sees a bit flip in a JPEG."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from jaxmeta.data.errors import DataError


def manifest(root: str | os.PathLike[str]) -> dict[str, str]:
    """SHA-256 of every visible file below a folder.

    Args:
      root: the folder.

    Returns:
      Path below `root` -> 64 hexadecimal digits, sorted.

    Example:
      >>> manifest("no-such-folder")
      {}
    """
    root = Path(root)
    files = sorted(
        p
        for p in root.rglob("*")
        if p.is_file() and not any(n.startswith(".") for n in p.relative_to(root).parts)
    )
    found = {}
    for path in files:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[path.relative_to(root).as_posix()] = digest
    return found


def check_manifest(root: str | os.PathLike[str], wanted: Mapping[str, str]) -> None:
    """Compares a folder with what `manifest` once said of it.

    Args:
      root: the folder.
      wanted: path -> SHA-256.

    Raises:
      DataError: naming the first file that is missing, new or different.

    Example:
      >>> check_manifest("no-such-folder", {})
    """
    found = manifest(root)
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            state = "is missing" if name not in found else "is not what it was"
            state = "is new" if name not in wanted else state
            raise DataError(f"file {Path(root) / name}: {state}, wants it as hashed")
