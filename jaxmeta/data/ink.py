"""A drawing cut to the square around its ink: where it stands, and how large, is left out."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FILLED = 0.9
"""Share of the square's side that the longer side of the ink has."""
LEAST = 0.4
"""The square's side is at least this share of the picture's longer one: a dot stays small."""


class Ink(NamedTuple):
    """What a drawing is made of.

    Attributes:
      dark: dark ink on light paper; else light on dark.
    """

    dark: bool


def around_ink(image: "Image.Image", ink: Ink) -> "Image.Image":
    """Returns the square around the ink, paper added where it reaches over the edge.

    Ink is what lies beyond the middle of the lightest and the darkest grey. A picture of
    one grey has none: it is made square about its centre.

    Args:
      image: grey or colour, of 8 bits.
      ink: dark or light.

    Returns:
      A square picture of the same mode.

    >>> from PIL import Image
    >>> page = Image.new("L", (100, 50), "white")
    >>> page.paste(0, (80, 10, 98, 46))  # a bar near the edge: 18 wide, 36 high
    >>> square = around_ink(page, Ink(dark=True))
    >>> square.size, square.getbbox(), square.getpixel((20, 20))
    ((40, 40), (0, 0, 40, 40), 0)
    """
    from PIL import Image

    grey = np.asarray(image.convert("L")).astype(np.int16)
    grey = 255 - grey if ink.dark else grey
    there = 2 * grey > grey.min() + grey.max()
    height, width = grey.shape
    top, bottom = _ends(there.any(1))
    left, right = _ends(there.any(0))
    longer = max(bottom - top, right - left) / FILLED
    side = max(round(max(longer, LEAST * max(height, width))), 1)
    corner = (round((left + right - side) / 2), round((top + bottom - side) / 2))
    square = Image.new(image.mode, (side, side), "white" if ink.dark else "black")
    square.paste(image, (-corner[0], -corner[1]))
    return square


def _ends(there: np.ndarray) -> tuple[int, int]:
    """First place with ink and the one after the last; all of it where there is none."""
    places = np.flatnonzero(there)
    return (0, len(there)) if not len(places) else (int(places[0]), int(places[-1]) + 1)
