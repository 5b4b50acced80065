"""Two more pictures of a report: confusion, and confidence against accuracy."""

import numpy as np

from jaxmeta.report.calibration import Calibration
from jaxmeta.report.figures import Draw

MOST_NUMBERS = 12  # classes up to which each cell of the confusion has its number


def judgement(counts: np.ndarray, found: Calibration) -> Draw:
    """The confusion of one episode on the left, calibration over many on the right."""

    def draw(figure, theme):
        left, right = figure.subplots(1, 2)
        _confusion(left, counts, theme)
        _calibration(right, found, theme)

    return draw


def _confusion(axis, counts: np.ndarray, theme) -> None:
    from matplotlib.colors import LinearSegmentedColormap, to_rgba

    ways = len(counts)
    clear = (*to_rgba(theme.blue)[:3], 0.0)
    shades = LinearSegmentedColormap.from_list("shades", [clear, theme.blue])
    axis.imshow(counts, cmap=shades, vmin=0, vmax=max(counts.max(), 1))
    if ways <= MOST_NUMBERS:
        for i, j in zip(*np.nonzero(counts), strict=True):
            dark = counts[i, j] > 0.6 * counts.max()
            colour = "white" if dark and theme.ink == "#1f2328" else theme.ink
            colour = "#0f1216" if dark and theme.ink != "#1f2328" else colour
            axis.text(j, i, counts[i, j], ha="center", va="center", color=colour)
    every = -(-ways // MOST_NUMBERS)
    ticks = np.arange(0, ways, every)
    axis.set(xlabel="predicted class", ylabel="class", title="This episode's queries")
    axis.set_xticks(ticks, ticks + 1)
    axis.set_yticks(ticks, ticks + 1)
    for spine in axis.spines.values():
        spine.set(visible=True)


def _calibration(axis, found: Calibration, theme) -> None:
    axis.plot([0, 1], [0, 1], ":", color=theme.ink, lw=0.8, label="as sure as right")
    axis.plot(
        found.confidence, found.accuracy, "-", color=theme.blue, lw=1.4, label="found"
    )
    sizes = 12 + 240 * found.share
    axis.scatter(found.confidence, found.accuracy, s=sizes, color=theme.blue, zorder=3)
    axis.set(
        xlabel="confidence (largest probability)",
        ylabel="accuracy",
        xlim=(0, 1.03),
        ylim=(-0.03, 1.03),
        title=f"Calibration error {100 * found.error:.1f} %",
    )
    axis.grid()
    axis.legend(fontsize=9, loc="upper left")
