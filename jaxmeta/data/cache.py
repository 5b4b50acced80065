"""A checked cache of data sets: decoding is done once, damage is noticed."""

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from jaxmeta.data.arrays import Dataset, from_counts

Cache = bool | str | os.PathLike[str]


def cached(
    name: str, key: str, build: Callable[[], Dataset], cache: Cache = True
) -> Dataset:
    """Returns `build()`, or what it returned the last time it had the same key.

    The file is an `.npz` without pickles and holds a SHA-256 of its arrays and `key`.
    It is written beside its final name and then renamed, so that no reader ever sees a
    half. A damaged file is built anew, with one warning; a folder that cannot be
    written costs a warning, never the data.

    Args:
      name: start of the file name.
      key: what the data depend on: hashes of the sources, sizes, versions.
      build: makes the data set.
      cache: a folder; True is `jaxmeta` in the user's cache folder; False is none.

    Returns:
      The data set.
    """
    if cache is False:
        return build()
    folder = user_cache() if cache is True else Path(cache)
    tag = hashlib.sha256(key.encode()).hexdigest()[:16]
    path = folder / f"{name}-{tag}.npz"
    if path.exists():
        try:
            return _read(path, key)
        except Exception as error:
            # Damaged bytes raise whatever zipfile, zlib, json and NumPy have (a header
            # may ask for all memory, or say that the file is encrypted).
            warnings.warn(
                f"cache {path} is damaged ({error}): building it anew", stacklevel=3
            )
    data = build()
    try:
        _write(path, key, data)
    except OSError as error:
        warnings.warn(f"cache {path} could not be written: {error}", stacklevel=3)
    return data


def user_cache() -> Path:
    """The folder for cached data: `$XDG_CACHE_HOME/jaxmeta` or `~/.cache/jaxmeta`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jaxmeta"


def _digest(key: str, inputs: np.ndarray, counts: np.ndarray, names: str) -> str:
    """SHA-256 of everything that a cache file holds."""
    head = json.dumps([key, str(inputs.dtype), inputs.shape, counts.tolist(), names])
    digest = hashlib.sha256(head.encode())
    digest.update(np.ascontiguousarray(inputs).data)
    return digest.hexdigest()


def _write(path: Path, key: str, data: Dataset) -> None:
    """Writes a temporary file in the same folder, then renames it."""
    names = json.dumps(data.names)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(
                file,
                inputs=data.inputs,
                counts=data.counts,
                names=np.array(names),
                sha256=np.array(_digest(key, data.inputs, data.counts, names)),
            )
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _read(path: Path, key: str) -> Dataset:
    """Reads a cache file; raises if any bit of what it holds has changed."""
    # np.load of a path leaves a file that is no zip open.
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        inputs, counts, names = file["inputs"], file["counts"], str(file["names"])
        if str(file["sha256"]) != _digest(key, inputs, counts, names):
            raise ValueError("its SHA-256 does not match")
    return from_counts(inputs, counts, tuple(json.loads(names)))
