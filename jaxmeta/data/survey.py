"""What a reader will have to do to a person's images, said before it is done."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxmeta.data.errors import DataError

EXIF_ORIENTATION = 0x0112


def survey(paths: Sequence[str | Path], *, trim: bool = False) -> list[str]:
    """Looks at the headers of image files: sizes, and what is unusual about them.

    Args:
      paths: PNG or JPEG files, one or more.
      trim: whether they are cut to a square, so that none is stretched to one.

    Returns:
      Phrases for a person: the sizes first, then each kind of change that `load_images`
      makes on the way to a square, with how many files it is made to.

    Raises:
      DataError: a file that is missing or no image.

    Example:
      >>> survey(["phone.jpg", "scan.png"])  # doctest: +SKIP
      ['40x40 to 1200x1600 pixels', '1 turned upright (EXIF)', '1 stretched to a square']
    """
    from PIL import Image

    sizes, counts = [], {}
    for path in paths:
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                sizes.append(image.size)
                for what in _changes(image, trim):
                    counts[what] = counts.get(what, 0) + 1
        except Exception as error:
            # as in `load_images`: a damaged header raises whatever its decoder has
            raise DataError(f"image {path}: {str(error) or error!r}") from None
    low, high = (f"{w}x{h}" for w, h in (min(sizes, key=_area), max(sizes, key=_area)))
    text = f"{low} pixels" if low == high else f"{low} to {high} pixels"
    return [text, *(f"{n} {what}" for what, n in counts.items())]


def in_colour(paths: Sequence[str | Path]) -> bool:
    """Whether any of these image files shows a colour; grey ones saved as RGB do not.

    Args:
      paths: PNG or JPEG files; a few are enough to ask.

    Returns:
      Whether three channels of one differ visibly.
    """
    from PIL import Image

    for path in paths:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if image.mode in ("1", "L", "LA") or image.mode.startswith("I"):
                continue
            small = np.asarray(image.convert("RGB").resize((8, 8)), np.int32)
        if np.ptp(small, axis=-1).max() > 24:
            return True
    return False


def _area(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _changes(image, trim: bool) -> list[str]:
    """What is done to one image besides resizing it and making it grey or colour."""
    changes = []
    if image.getexif().get(EXIF_ORIENTATION, 1) not in (0, 1):
        changes.append("turned upright (EXIF)")
    if image.width != image.height and not trim:
        changes.append("stretched to a square")
    if image.mode.startswith("I"):
        changes.append("from 16-bit grey")
    elif image.has_transparency_data:
        changes.append("with transparency put on white")
    elif image.mode not in ("1", "L", "RGB"):
        changes.append(f"from {'palette' if image.mode == 'P' else image.mode}")
    return changes
