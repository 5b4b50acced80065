"""Unpacking archives that nobody vouches for: plain files, inside the folder, of a bound.

Python's own extractors follow links and have had their filters bypassed; this one writes
nothing but the bytes of regular files under names that it has looked at.
"""

import os
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from jaxmeta.data.errors import DataError

MAX_FILES = 2_000_000
MAX_BYTES = 2**38
MAX_RATIO = 200
"""Unpacked bytes for a byte of the archive; images hardly compress at all."""

# What damaged archives raise; RuntimeError: encrypted, as is NotImplementedError.
_DAMAGE = (
    OSError, EOFError, ValueError, KeyError, RuntimeError, struct.error, zlib.error,
    zipfile.BadZipFile, tarfile.TarError, OverflowError,
)  # fmt: skip

Member = tuple[str, int, Callable[[], BinaryIO | None]]


def extract(
    archive: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    max_files: int = MAX_FILES,
    max_bytes: int = MAX_BYTES,
    max_ratio: float = MAX_RATIO,
) -> list[Path]:
    """Unpacks a zip or tar file into a new folder, whole or not at all.

    Every name is looked at before the first byte is written. Links, devices, absolute
    names, drive letters, `..`, names that occur twice (also in another case) and more
    than is allowed are refused; permissions and owners are not taken over.

    Args:
      archive: a `.zip`, `.tar`, `.tar.gz`, `.tar.bz2` or `.tar.xz` file.
      folder: where to; it must not exist yet.
      max_files: files in it, at most.
      max_bytes: bytes in all once unpacked, at most.
      max_ratio: unpacked bytes for a byte of the archive, at most.

    Returns:
      The files, in the order of the archive.

    Raises:
      DataError: the archive is damaged or holds what it should not; nothing is left.

    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> with zipfile.ZipFile(root / "a.zip", "w") as file:
    ...     file.writestr("x/y.txt", "hello")
    >>> [p.read_text() for p in extract(root / "a.zip", root / "out")]
    ['hello']
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise DataError(f"folder {folder}: is there already, wants a new one")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        size = archive.stat().st_size
        most = min(max_bytes, int(max(size, 1) * max_ratio))
        names = _survey(archive, max_files, most)
        part.mkdir(parents=True)
        _unpack(archive, part, most)
        os.replace(part, folder)
    except DataError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise DataError(f"archive {archive}: {reason}, wants a whole archive") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return [folder / name for name in names]


def _survey(archive: Path, max_files: int, most: int) -> list[str]:
    """The names of all members, after a look at each."""
    names: list[str] = []
    seen: set[str] = set()
    total = 0
    for raw, size, _ in _members(archive):
        name = _safe(archive, raw)
        total += size
        if name.casefold() in seen:
            raise DataError(f"archive {archive}: {raw!r} is in it twice, wants it once")
        if len(names) >= max_files:
            raise DataError(f"archive {archive}: has more than {max_files} files")
        if total > most:
            raise DataError(f"archive {archive}: unpacks to more than {most} bytes")
        seen.add(name.casefold())
        names.append(name)
    return names


def _unpack(archive: Path, part: Path, most: int) -> None:
    total = 0
    for raw, _, opened in _members(archive):
        path = part / _safe(archive, raw)
        path.parent.mkdir(parents=True, exist_ok=True)
        source = opened()
        if source is None:
            raise DataError(f"archive {archive}: {raw!r} has no content")
        with source, open(path, "xb") as out:
            # What is written counts, not what the header says.
            while block := source.read(1 << 20):
                total += len(block)
                if total > most:
                    raise DataError(
                        f"archive {archive}: unpacks to more than {most} bytes"
                    )
                out.write(block)


def _members(archive: Path) -> Iterator[Member]:
    """Name, size and opener of each file; folders are left out, the rest is refused."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                kind = (info.external_attr >> 16) & 0o170000
                if kind not in (0, 0o100000, 0o040000):
                    raise _strange(archive, info.filename)
                if not info.is_dir():
                    yield info.filename, info.file_size, lambda i=info: file.open(i)  # type: ignore[misc]
        return
    with tarfile.open(archive) as tar:
        for info in tar:
            if info.isdir():
                _safe(archive, info.name)
            elif not info.isreg():
                raise _strange(archive, info.name)
            else:
                yield info.name, info.size, lambda i=info: tar.extractfile(i)  # type: ignore[misc]


def _strange(archive: Path, name: str) -> DataError:
    return DataError(f"archive {archive}: {name!r} is a link or a device, wants files")


def _safe(archive: Path, raw: str) -> str:
    """A relative name that stays inside, on every operating system."""
    parts = PurePosixPath(raw.replace("\\", "/")).parts
    odd = any(ord(c) < 32 for c in raw) or ":" in raw
    if not parts or odd or ".." in parts or parts[0].startswith("/"):
        raise DataError(f"archive {archive}: {raw!r} leads outside, wants a plain name")
    return "/".join(parts)
