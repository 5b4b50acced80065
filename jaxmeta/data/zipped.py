"""Published zip files: what they hold, and one line for those that are damaged."""

import struct
import zipfile
import zlib
from pathlib import Path

from jaxmeta.data.errors import DataError

# What a damaged zip file raises; RuntimeError: it claims to be encrypted.
ZIP_ERRORS = (
    OSError, ValueError, RuntimeError, EOFError, struct.error, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip


def names_in(source: Path, what: str, *, most: int) -> list[str]:
    """Names of the files in a zip file.

    Args:
      source: the zip file.
      what: the data set, for errors.
      most: bytes that a file may have, unpacked.

    Raises:
      DataError: it is damaged, or a file in it has more.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            infos = archive.infolist()
    except ZIP_ERRORS as error:
        raise damaged(source, what, error) from None
    for info in infos:
        if info.file_size > most:
            size = f"{most / 2**20:g} MiB"
            raise DataError(f"{what}: {source}: {info.filename} has more than {size}")
    return [info.filename for info in infos]


def damaged(source: Path, what: str, error: Exception) -> DataError:
    """The line for a zip file that cannot be read."""
    return DataError(f"{what}: {source} is damaged ({error}), wants a whole zip file")
