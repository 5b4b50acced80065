"""Image files to uint8 arrays; every file is untrusted."""

import io
import math
import operator
import struct
import warnings
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from jaxmeta.data.errors import DataError
from jaxmeta.data.ink import LEAST, Ink, around_ink

if TYPE_CHECKING:
    from PIL import Image

Mode = Literal["L", "RGB"]

FORMATS = ("PNG", "JPEG")
MAX_PIXELS = 2**25
"""What is decoded has no more pixels: 32 million, well under what would fill the memory.
A larger JPEG is decoded at a half to an eighth of its sides; a larger PNG is refused
before it is decoded, and so is any picture of more than Pillow's own 89 million."""


def load_images(
    paths: Sequence[str | Path],
    *,
    size: int | tuple[int, int] = 28,
    mode: Mode = "L",
    invert: bool = False,
    trim: bool = False,
) -> np.ndarray:
    """Reads image files into one array, each stretched to `size` by a Lanczos filter.

    A photograph is turned the way its EXIF tag says, transparency becomes white paper,
    and 16-bit, palette and CMYK files become 8-bit grey or colour.

    Args:
      paths: PNG or JPEG files.
      size: height and width, one number if they are equal.
      mode: "L" for one channel of grey, "RGB" for three of colour.
      invert: turn black into white: for ink on paper, which models like as ink = 255.
      trim: cut each drawing to the square around its ink first, nine tenths of it filled:
        what is dark where `invert` turns it, else what is light.

    Returns:
      uint8 `[n, height, width, channels]`.

    Raises:
      DataError: a file that is missing, broken, of another format, or too large.

    Example:
      >>> load_images([], size=(8, 4), mode="RGB").shape
      (0, 8, 4, 3)
    """
    return decode_all(
        ((str(path), Path(path)) for path in paths),
        count=len(paths),
        size=size,
        mode=mode,
        invert=invert,
        trim=trim,
    )


def decode_all(
    files: Iterable[tuple[str, Path | bytes]],
    *,
    count: int,
    size: int | tuple[int, int],
    mode: Mode,
    invert: bool,
    trim: bool = False,
    formats: tuple[str, ...] = FORMATS,
) -> np.ndarray:
    """Decodes `count` pairs: a name for errors, and a path or the bytes of a file."""
    from PIL import Image

    height, width = check_size(size)
    if mode not in ("L", "RGB"):
        raise DataError(f"mode: got {mode!r}, wants 'L' or 'RGB'")
    out = np.empty((count, height, width, len(mode)), np.uint8)
    cut = Ink(dark=invert) if trim else None
    # Pillow only warns of a picture that is up to twice its own limit.
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for i, (name, file) in enumerate(files):
            image = decode(name, file, (height, width), mode, formats, cut)
            out[i] = image.reshape(out.shape[1:])
    return np.invert(out, out=out) if invert else out


def check_size(size: int | tuple[int, int]) -> tuple[int, int]:
    """Returns height and width; raises `DataError` unless both are 1 to 4096."""
    one = isinstance(size, int | np.integer)
    sides: Any = (size, size) if one else size
    try:
        height, width = (0 if n is True else operator.index(n) for n in sides)
    except (TypeError, ValueError):
        height, width = 0, 0
    if not (1 <= height <= 4096 and 1 <= width <= 4096):
        wants = "1 to 4096 pixels a side, one integer or (height, width)"
        raise DataError(f"size: got {size!r}, wants {wants}")
    return height, width


class Square(NamedTuple):
    """What is cut out of a picture, and how it is resized; without one it is stretched.

    Attributes:
      share: of the shorter side that the square about the centre has.
      resample: "bilinear", "bicubic" or "lanczos".
    """

    share: float
    resample: str


def decode(
    name: str,
    file: Path | bytes,
    size: tuple[int, int],
    mode: Mode,
    formats: tuple[str, ...] = FORMATS,
    cut: Square | Ink | None = None,
) -> np.ndarray:
    """Decodes one file, or raises a `DataError` which names it."""
    from PIL import Image

    source = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        with Image.open(source, formats=formats) as image:
            if image.format == "PNG":
                _check_png(file)
            elif (
                isinstance(cut, Square) or image.width * image.height > MAX_PIXELS
            ):  # of a drawing thin strokes would be lost
                # A large photograph: the decoder itself halves it, up to three times,
                # and never holds the whole. Twice the size leaves the filter its work.
                image.draft(image.mode, _enough(image.size, size, cut))
            if image.width * image.height <= MAX_PIXELS:
                return np.asarray(_convert(image, size, mode, cut))
            reason = f"has {image.width} x {image.height} pixels"
    except FileNotFoundError:
        reason = "is missing"
    except Image.UnidentifiedImageError:
        reason = "is no such image"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = "has too many pixels"
    except Exception as error:
        # Pillow's decoders raise a dozen types on damaged bytes (OSError, SyntaxError,
        # ValueError, struct.error, zlib.error...); all of them mean the same here.
        reason = f"is broken ({str(error).splitlines()[0] if str(error) else error!r})"
    raise DataError(
        f"image {name}: {reason}, "
        f"wants a whole {' or '.join(formats)} of at most {MAX_PIXELS} pixels"
    )


def _enough(
    whole: tuple[int, int], size: tuple[int, int], cut: Square | Ink | None
) -> tuple[int, int]:
    """Width and height below which a decoder need not halve a picture."""
    if cut is None:
        return 2 * size[1], 2 * size[0]
    if isinstance(cut, Ink):
        least = LEAST * max(whole)
    else:
        least = cut.share * min(whole)
    scale = 2 * max(size) / max(least, 1)
    return math.ceil(scale * whole[0]), math.ceil(scale * whole[1])


def _check_png(file: Path | bytes) -> None:
    """Compares the checksums of all chunks; Pillow decodes without a look at them."""
    with io.BytesIO(file) if isinstance(file, bytes) else open(file, "rb") as content:
        content.seek(8)
        kind = b""
        while kind != b"IEND":
            head = content.read(8)
            if len(head) < 8:
                raise ValueError("truncated PNG")
            length, kind = struct.unpack(">I4s", head)
            crc = zlib.crc32(kind)
            while length > 0 and (block := content.read(min(length, 1 << 20))):
                crc, length = zlib.crc32(block, crc), length - len(block)
            if length or content.read(4) != struct.pack(">I", crc):
                raise ValueError(f"bad checksum in its {kind.decode('latin1')} chunk")


def _convert(
    image: "Image.Image", size: tuple[int, int], mode: Mode, cut: Square | Ink | None
) -> "Image.Image":
    """Turns upright, cuts and resizes, puts on white paper and converts, in this order."""
    from PIL import Image, ImageOps

    image.load()  # all of it: a truncated file passes `open` and even `verify`
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips it
        image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    box, how = None, Image.Resampling.LANCZOS
    if isinstance(cut, Ink):
        image = around_ink(_on_paper(image), cut, MAX_PIXELS)
    elif cut is not None:
        box = _centre(image.size, cut.share)
        how = Image.Resampling[cut.resample.upper()]
    image = image.resize((size[1], size[0]), how, box)
    # after the resize: the big picture is copied once less
    return _on_paper(image).convert(mode)


def _on_paper(image: "Image.Image") -> "Image.Image":
    """Without transparency."""
    from PIL import Image

    if image.mode != "RGBA":
        return image
    paper = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(paper, image).convert("RGB")


def _centre(size: tuple[int, int], share: float) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the square."""
    half = share * min(size) / 2
    x, y = size[0] / 2, size[1] / 2
    return x - half, y - half, x + half, y + half
