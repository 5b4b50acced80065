"""How someone's own files become inputs of a trained network."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from jaxmeta import data
from jaxmeta.data.arrays import unit_range


class Read(NamedTuple):
    """Files as inputs.

    Attributes:
      support: `[n, ...]`.
      query: `[m, ...]`.
      notes: lines about what was done to them.
    """

    support: np.ndarray
    query: np.ndarray
    notes: list[str]


class Reader(NamedTuple):
    """What turns files into inputs, the way the training examples went.

    Attributes:
      read: `(support paths, query paths, invert) -> Read`; `invert` is what the user
        asked for, `None` where nothing was said. Raises `DataError` for a file that
        cannot be read.
      files: which files are read.
    """

    read: Callable[..., Read]
    files: data.Files = data.IMAGES


def images(
    size: int,
    mode: Literal["L", "RGB"] = "L",
    *,
    invert: bool = False,
    ink: bool = False,
    trim: bool = False,
) -> Reader:
    """Images, grey or colour, resized.

    Args:
      size: side in pixels.
      mode: "L" or "RGB".
      invert: whether the training images were turned to light on dark.
      ink: whether the network knows light ink on dark ground: support images that are
        mostly light are then taken for dark ink and turned, the queries with them.
      trim: whether each drawing is cut to the square around its ink, as in training.

    Returns:
      A `Reader`.
    """

    def read(support, query, inverted: bool | None = None) -> Read:
        def load(paths, **options):
            return data.load_images(paths, size=size, mode=mode, **options)

        x, y = load(support), load(query)
        if inverted is not None:
            why = "as asked"
        else:
            inverted = bool(x.mean() > 127.5) if ink else invert
            why = "judged by the support" if ink else "as in training"
        kind = "colour" if mode == "RGB" else "grey"
        turned = "turned to light on dark" if inverted else "not inverted"
        notes = [f"{size}x{size} {kind}, {turned} ({why})"]
        for field, paths in (("support", support), ("query", query)):
            seen = ", ".join(data.survey(paths, trim=trim))
            notes.append(f"{field} images: {seen}")
        if trim:
            notes[0] += ", each cut to the square around its ink"
            x, y = (load(p, invert=inverted, trim=True) for p in (support, query))
        else:
            x, y = (255 - a if inverted else a for a in (x, y))
        return Read(unit_range(x), unit_range(y), notes)

    return Reader(read)


def sounds(*, rate: int, seconds: float, bands: int) -> Reader:
    """Recordings of sound as spectrograms.

    Args:
      rate: samples in a second.
      seconds: of a recording that are kept.
      bands: of mel.

    Returns:
      A `Reader`.
    """

    def read(support, query, inverted: bool | None = None) -> Read:
        if inverted is not None:
            raise data.DataError("invert: got sounds, wants images")
        x, y = (
            data.spectrograms(
                data.load_waves(paths, rate=rate, seconds=seconds),
                rate=rate,
                bands=bands,
            )
            for paths in (support, query)
        )
        note = (
            f"the loudest {seconds:g} s of each at {rate} Hz, {bands} mel bands by "
            f"{x.shape[2]} frames, relative to its loudest"
        )
        return Read(x, y, [note])

    return Reader(read, data.SOUNDS)
