"""What all pictures of Matplotlib share: a theme, an SVG. Knows nothing of JAX."""

import io
import re
import warnings
import zlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from jaxmeta.report import page


class Theme(NamedTuple):
    """Colours to draw with; blue and orange differ to every kind of eye.

    Each stands for a colour of the page of its name, light or dark as the reader has it.
    """

    ink: str = "#1f2328"
    faint: str = "#d5d9de"
    blue: str = "#2f6fd0"
    orange: str = "#d9720a"
    good: str = "#2f8f5b"
    bad: str = "#cc3d3d"


OF_PAGE = Theme("ink", "faint", "accent", "orange", "good", "bad")
"""The page's names of these colours."""

Draw = Callable[[Any, Theme], None]
"""Draws on a Matplotlib figure, in the colours of a theme."""


def drawn(draw: Draw, size: tuple[float, float], alt: str) -> str:
    """A picture for a page, in the page's own colours; `size` in inches.

    Text stays text: it can be searched, and has the page's letters.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    theme, out = Theme(), io.StringIO()
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
        "svg.fonttype": "none",
        "svg.hashsalt": "",
    }
    with rc_context(rc), warnings.catch_warnings():
        # the reader's letters are not Matplotlib's: it only guesses how wide they are
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(size, dpi=72, layout="constrained", facecolor="none")
        canvas = FigureCanvasSVG(figure)
        draw(figure, theme)
        canvas.print_svg(out)  # laid out and drawn at once; `savefig` does it twice
    return _of_page(out.getvalue(), theme, size[0], alt)


def _of_page(svg: str, theme: Theme, inches: float, alt: str) -> str:
    """What Matplotlib wrote, as a part of a page."""
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view is not None
    body = svg[svg.index("</metadata>") + len("</metadata>") :]
    body = re.sub(r"<style.*?</style>", "", body)  # it would be the whole page's
    body = re.sub(r"\s*\n\s*", " ", body)
    # clips and markers: no other picture of the page may have one of the same name
    mine = f"{zlib.crc32(body.encode()):x}-"

    def tag(found: re.Match) -> str:
        said = re.sub(r'^<g id="[^"]*"', "<g", found[0])
        said = re.sub(r"font-family: [^;\"]*;? ?", "", said)
        said = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{mine}", said)
        for colour, name in zip(theme, OF_PAGE, strict=True):
            said = said.replace(colour, f"var(--{name})")
        return said

    body = re.sub(r"<[^>]+>", tag, body)
    most = f'style="max-width: {9 * inches:g}rem"'  # letters of about the page's size
    said = f'role="img" aria-label="{page.text(alt)}"'
    return f'<svg class="plot" {view[0]} {most} {said}>{body}'


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
