"""Files that are either whole or not there."""

import json
import os
import shutil
from pathlib import Path


def write_atomic(path: Path, text: str) -> None:
    """Writes beside `path`, syncs, and renames: readers see the old file or the new."""
    part = path.with_name(f".{path.name}.part")
    try:
        with open(part, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_json(path: Path, value: object) -> None:
    """Writes indented JSON, atomically; refuses NaN, which is no JSON."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def expanded(path: str | Path) -> Path:
    """A path with `~` and `~name` for home folders; as it stands where there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def sync(path: Path) -> None:
    """Makes a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some file systems cannot sync a folder
        pass
    finally:
        os.close(descriptor)


def room(path: Path) -> str:
    """`"12.3 MB free"` where `path` is or would be."""
    for folder in (path, *path.parents):
        try:
            return f"{shutil.disk_usage(folder).free / 1e6:.1f} MB free"
        except OSError:  # a folder that is not there yet, or no longer
            continue
    return "free space unknown"
