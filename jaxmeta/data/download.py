"""Downloads with a known end: nothing is at the final path but the file that was meant.

Nothing in jaxmeta downloads by itself; who calls this names address, hash and size.
"""

import hashlib
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from jaxmeta.data.errors import DataError

BLOCK = 1 << 20
_LOCAL = ("127.0.0.1", "localhost", "::1")


def download(
    url: str,
    path: str | os.PathLike[str],
    *,
    sha256: str,
    size: int,
    timeout: float = 30.0,
    tries: int = 3,
) -> Path:
    """Fetches one file, of which hash and size are known beforehand.

    Bytes go to `.<name>.part` beside `path`, which is renamed when all of them are there
    and their SHA-256 is the one that was asked for. A part that an earlier call left is
    gone on with, where the server can; a file that is there and right is not fetched.

    Args:
      url: an https address (http on this machine, for tests).
      path: where to put it.
      sha256: of the whole file, 64 hexadecimal digits.
      size: its number of bytes.
      timeout: seconds without a byte after which a try is given up.
      tries: how often to connect.

    Returns:
      `path`.

    Raises:
      DataError: naming the address, what came and what was wanted; nothing is at `path`.

    >>> download("ftp://x", "x", sha256="0" * 64, size=1)
    Traceback (most recent call last):
    jaxmeta.data.errors.DataError: url: got 'ftp://x', wants an https address
    """
    parts = urllib.parse.urlsplit(url)
    secure = parts.scheme == "https"
    if not secure and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise DataError(f"url: got {url!r}, wants an https address")
    if len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef"):
        raise DataError(f"sha256: got {sha256!r}, wants 64 hexadecimal digits")
    path = Path(path)
    if path.exists():
        if (found := _digest(path)) == sha256.lower():
            return path
        raise DataError(f"{path}: has SHA-256 {found}, wants {sha256}; move it away")
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    problem = "nothing came"
    for attempt in range(tries):
        try:
            _fetch(url, part, size, timeout)
            if part.stat().st_size >= size:
                break
            problem = "the connection ended early"  # which urllib does not mind
        except (OSError, ValueError, urllib.error.URLError) as error:
            problem = str(error) or type(error).__name__
            if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                break
            time.sleep(min(0.1 * 2**attempt, 5.0))
    got = part.stat().st_size if part.exists() else 0
    if got != size:
        if got > size:
            part.unlink()
        raise DataError(f"{url}: got {got} bytes ({problem}), wants {size}")
    found = _digest(part)
    if found != sha256.lower():
        part.unlink()  # going on with wrong bytes would never end well
        raise DataError(f"{url}: got a file with SHA-256 {found}, wants {sha256}")
    os.replace(part, path)
    return path


def _fetch(url: str, part: Path, size: int, timeout: float) -> None:
    """Appends what is missing to `part`."""
    have = part.stat().st_size if part.exists() else 0
    if have >= size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        kind = answer.headers.get("Content-Type", "")
        if kind.startswith("text/html"):
            raise ValueError(f"the server sent a page ({kind}), not a file")
        resumed = have and answer.status == 206
        with open(part, "ab" if resumed else "wb") as out:
            while block := answer.read(BLOCK):
                out.write(block)
                if out.tell() > size:
                    raise ValueError(f"the server sends more than {size} bytes")
            out.flush()
            os.fsync(out.fileno())


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
