"""Images that are damaged, or made to fill the memory."""

import io
import resource
import struct
import zlib
from pathlib import Path

import numpy as np

from jaxmeta import data
from tests.scorecard.score import Score, Tally, scratch


def images() -> Score:
    """IMAGES-9: nine hostile or damaged images in a data set: each is refused by file
    name, within 512 MB; one bit of a JPEG shows in the hash of the data."""
    tally, png, jpeg = Tally(), _encoded("PNG"), _encoded("JPEG")
    half = len(jpeg) // 2
    refused = {
        "truncated PNG": ("x.png", png[: len(png) // 2]),
        "truncated JPEG": ("x.jpg", jpeg[:half]),
        "empty": ("x.png", b""),
        "GIF called PNG": ("x.png", b"GIF89a" + bytes(20)),
        "14000 x 14000 PNG": ("x.png", _bomb(14_000)),
        "9500 x 9500 PNG": ("x.png", _bomb(9_500)),
        "PNG with a broken checksum": ("x.png", _flip(png, png.index(b"IDAT") + 6)),
        "page of HTML": ("x.png", b"<html><body>404</body></html>"),
    }
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, (file, content) in refused.items():
        with scratch() as root:
            (root / "class").mkdir()
            (root / "class" / file).write_bytes(content)
            try:
                data.image_folder(root)
                tally.add(False, f"{name}: taken")
            except data.DataError as error:
                tally.add(file in str(error), f"{name}: {error}")
            except Exception as error:
                tally.add(False, f"{name}: {type(error).__name__}: {error}")
    with scratch() as root:
        (root / "class").mkdir()
        path = root / "class" / "x.jpg"
        path.write_bytes(jpeg)
        hashes = data.manifest(root)
        path.write_bytes(_flip(jpeg, len(jpeg) - 40))
        tally.case("one bit of a JPEG", lambda: _hash_refuses(root, hashes))
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    if peak > 512:
        return Score(0, tally.tried, f"{peak:.0f} MB more at the peak")
    return tally.score(f"{peak:.0f} MB more at the peak")


def _hash_refuses(root: Path, wanted: dict[str, str]) -> bool:
    try:
        data.check_manifest(root, wanted)
        return False
    except data.DataError as error:
        return "x.jpg" in str(error)


def write_classes(root: Path, classes: int, each: int, side: int = 8) -> None:
    """A data set of grey squares: `root/class03/1.png`."""
    from PIL import Image

    for c in range(classes):
        (root / f"class{c:02d}").mkdir(parents=True, exist_ok=True)
        for i in range(each):
            pixels = np.full((side, side), (9 * c + i) % 256, np.uint8)
            Image.fromarray(pixels).save(root / f"class{c:02d}" / f"{i}.png")


def _encoded(kind: str) -> bytes:
    from PIL import Image

    pixels = (np.arange(64 * 64) % 251).astype(np.uint8).reshape(64, 64)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()


def _bomb(side: int) -> bytes:
    """A PNG of one colour, small as a file."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    rows = zlib.compress(bytes((side // 8 + 2) * side), 9)
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(k, b) for k, b in parts)


def _flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
