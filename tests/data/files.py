"""Small files for the tests, made here."""

import io
import struct
import zlib

import numpy as np
from PIL import Image


def encoded(image, kind="PNG", **options) -> bytes:
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def drawing(seed) -> bytes:
    """A 1-bit PNG of black ink on white, 105 x 105, as Omniglot's are."""
    rng = np.random.default_rng(seed)
    paper = np.full((105, 105), 255, np.uint8)
    row, column = rng.integers(10, 80, 2)
    paper[row : row + 15, column : column + 5] = 0
    return encoded(Image.fromarray(paper).convert("1"))


def bomb(side: int) -> bytes:
    """A PNG that says it has `side` x `side` pixels, in a few hundred bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + crc

    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*parts) for parts in ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    )
