"""What all pictures of Matplotlib share: a theme, a PNG. Knows nothing of JAX."""

import io
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxmeta.report import page


class Theme(NamedTuple):
    """Colours of a page; blue and orange differ to every kind of eye."""

    ink: str
    faint: str
    blue: str
    orange: str
    good: str
    bad: str


LIGHT = Theme("#1f2328", "#d5d9de", "#2f6fd0", "#d9720a", "#2f8f5b", "#cc3d3d")
DARK = Theme("#e6e9ee", "#3a414b", "#6ea8fe", "#ffa657", "#56c28a", "#ff7b72")

Draw = Callable[[Any, Theme], None]
"""Draws on a Matplotlib figure, in the colours of a theme."""


def drawn(draw: Draw, size: tuple[float, float], alt: str) -> str:
    """A picture for a page, light and dark; `size` in inches."""
    light, dark = (png(draw, theme, size) for theme in (LIGHT, DARK))
    return page.picture(light, dark, alt)


def png(draw: Draw, theme: Theme, size: tuple[float, float]) -> bytes:
    """Draws on a clear ground, so that the page shines through."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    colours = dict.fromkeys(
        ("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), theme.ink
    )
    rc: dict[Any, Any] = {
        **colours,
        "font.size": 10,
        "axes.titlesize": 10,
        "axes.edgecolor": theme.faint,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "axes.axisbelow": True,
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
    }
    with rc_context(rc):
        figure = Figure(size, dpi=144, layout="constrained", facecolor="none")
        canvas = FigureCanvasAgg(figure)
        draw(figure, theme)
        canvas.draw()  # laid out and painted at once; `savefig` does it twice
        out = io.BytesIO()
        Image.fromarray(np.asarray(canvas.buffer_rgba())).save(out, "png")
    return out.getvalue()


def plain(text: object) -> str:
    """Text that Matplotlib does not take for mathematics."""
    return str(text).replace("$", r"\$")


def log_if_wide(axis, values: Iterable[float]) -> None:
    """A logarithmic axis for positive values that span more than a factor of 20."""
    values = np.asarray([*values], float)
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > 20 * values.min():
        axis.set_yscale("log")


def column(rows: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that have a metric; NaN where it was not finite."""
    have = [row for row in rows if name in row]
    values = [np.nan if row[name] is None else row[name] for row in have]
    return np.array([r["step"] for r in have]), np.array(values, float)
