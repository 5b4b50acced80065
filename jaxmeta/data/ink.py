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


def around_ink(image: "Image.Image", ink: Ink, most: int = 2**25) -> "Image.Image":
    """Returns the square around the ink, paper added where it reaches over the edge.

    Ink is what Otsu's threshold tells from paper, so that a speck does not decide what a
    stroke is. A picture of one grey has none: it is made square about its centre.

    Args:
      image: grey or colour, of 8 bits.
      ink: dark or light.
      most: pixels of the square; a larger one, around a long strip, is made smaller.

    Returns:
      A square picture of the same mode.

    References:
      Otsu 1979, A threshold selection method from gray-level histograms,
      https://doi.org/10.1109/TSMC.1979.4310076.

    >>> from PIL import Image
    >>> page = Image.new("L", (100, 50), "white")
    >>> page.paste(0, (80, 10, 98, 46))  # a bar near the edge: 18 wide, 36 high
    >>> square = around_ink(page, Ink(dark=True))
    >>> square.size, square.getbbox(), square.getpixel((20, 20))
    ((40, 40), (0, 0, 40, 40), 0)
    """
    from PIL import Image

    grey = np.asarray(image.convert("L"))
    grey = 255 - grey if ink.dark else grey
    least = threshold(np.bincount(grey.ravel(), minlength=256))
    there = grey > least
    height, width = grey.shape
    top, bottom = _ends(there, axis=1)
    left, right = _ends(there, axis=0)
    longer = max(bottom - top, right - left) / FILLED
    side = max(round(max(longer, LEAST * max(height, width))), 1)
    if side**2 > most:
        image = image.crop((left, top, right, bottom))
        side = int(most**0.5)
        image.thumbnail((FILLED * side, FILLED * side))
        (right, bottom), left, top = image.size, 0, 0
    # rounded down, whatever the sign: a drawing that has moved is cut alike
    corner = (left + right - side) // 2, (top + bottom - side) // 2
    square = Image.new(image.mode, (side, side), "white" if ink.dark else "black")
    square.paste(image, (-corner[0], -corner[1]))
    return square


def threshold(counts: np.ndarray) -> int:
    """Otsu's: the grey above which ink begins, by how often each of 256 is there.

        t = argmax_t  w_0 w_1 (m_0 - m_1)^2

    with the shares w and the means m of what is up to t and of what is above. Of equally
    good ones, the middle.

    >>> threshold(np.bincount([10, 10, 11, 90], minlength=256))
    50
    """
    greys = np.arange(256)
    below, whole = np.cumsum(counts), counts.sum()
    above = whole - below
    sums = np.cumsum(counts * greys)
    apart = sums / np.maximum(below, 1) - (sums[-1] - sums) / np.maximum(above, 1)
    between = below * 1.0 * above * apart**2
    return int(np.flatnonzero(between == between.max()).mean())


def _ends(there: np.ndarray, axis: int) -> tuple[int, int]:
    """First place with ink and the one after the last; all of it where there is none."""
    places = np.flatnonzero(there.any(axis))
    whole = 0, there.shape[1 - axis]
    return whole if not len(places) else (int(places[0]), int(places[-1]) + 1)
