"""The pictures of a report: data in, a PNG out. Knows Matplotlib and nothing of JAX."""

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


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


def png(draw: Draw, theme: Theme, size: tuple[float, float]) -> bytes:
    """Draws on a clear ground, so that the page shines through."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    colours = dict.fromkeys(
        ("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), theme.ink
    )
    rc = {
        **colours,
        "font.size": 10,
        "axes.edgecolor": theme.faint,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
    }
    with rc_context(rc):
        figure = Figure(figsize=size, layout="constrained", facecolor="none")
        FigureCanvasAgg(figure)
        draw(figure, theme)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=144)
    return out.getvalue()


def learning_curve(rows: list[dict], metric: str, kept_step: int | None) -> Draw:
    """Loss and score over outer steps; validation as dots, the kept step marked."""

    def draw(figure, theme):
        left, right = figure.subplots(1, 2)
        steps, loss = _column(rows, "loss")
        left.plot(steps, loss, color=theme.blue, lw=1.4)
        left.set(xlabel="outer step", ylabel="training loss")
        if len(loss) and loss.min() > 0 and loss.max() > 20 * loss.min():
            left.set_yscale("log")
        steps, train = _column(rows, metric)
        right.plot(steps, train, color=theme.blue, lw=1.4, label="training tasks")
        steps, val = _column(rows, f"val_{metric}")
        if len(steps):
            half = _column(rows, "val_ci95")[1]
            style = {"color": theme.orange, "ms": 4, "capsize": 2, "lw": 1.2}
            right.errorbar(steps, val, half, fmt="o-", label="validation", **style)
        if kept_step is not None:
            right.axvline(kept_step, color=theme.ink, lw=0.8, ls=":", label="kept")
        right.set(xlabel="outer step", ylabel=metric)
        right.legend(fontsize=9)
        for axis in (left, right):
            axis.grid(axis="y")

    return draw


def inner_steps(points: list[tuple[int, float, float]], metric: str, used: int) -> Draw:
    """Score against the number of inner steps, with its 95 % band."""

    def draw(figure, theme):
        axis = figure.subplots()
        k, mean, half = map(np.asarray, zip(*points, strict=True))
        axis.fill_between(
            k, mean - half, mean + half, color=theme.blue, alpha=0.2, lw=0
        )
        axis.plot(k, mean, "o-", color=theme.blue, ms=4, lw=1.4)
        axis.axvline(used, color=theme.ink, lw=0.8, ls=":", label="used in the test")
        if k.max() > 12:
            axis.set_xscale("symlog", linthresh=5)
        axis.set_xticks(k, [str(i) for i in k])
        axis.set(xlabel="inner steps on the support set", ylabel=f"test {metric}")
        axis.grid(axis="y")
        axis.legend(fontsize=9)

    return draw


class Drawn(NamedTuple):
    """One image task and what was said about it.

    Attributes:
      support: `[ways, shots, h, w, c]` in [0, 1].
      query: `[ways, queries, h, w, c]`.
      said: the predicted class of each query, `[ways, queries]`.
      sure: its probability, `[ways, queries]`.
    """

    support: np.ndarray
    query: np.ndarray
    said: np.ndarray
    sure: np.ndarray


MOST_WAYS, MOST_SHOTS, MOST_QUERIES = 8, 3, 8


def episode_size(task: Drawn) -> tuple[float, float]:
    """Inches for `episode`."""
    ways, shots, queries = _shown(task)
    return 0.95 * (shots + queries) + 0.9, 1.02 * ways + 0.35


def episode(task: Drawn) -> Draw:
    """A row a class: its support on the left; its queries, framed right or wrong."""

    def draw(figure, theme):
        ways, shots, queries = _shown(task)
        widths = [1] * shots + [0.35] + [1] * queries
        axes = figure.subplots(
            ways, len(widths), squeeze=False, gridspec_kw={"width_ratios": widths}
        )
        for c in range(ways):
            axes[c, shots].set_axis_off()
            axes[c, 0].set_ylabel(f"class {c + 1}", rotation=0, ha="right", va="center")
            for i in range(shots):
                _show(axes[c, i], task.support[c, i], theme.faint, 1)
            for i in range(queries):
                axis, said = axes[c, shots + 1 + i], int(task.said[c, i])
                right = said == c
                _show(axis, task.query[c, i], theme.good if right else theme.bad, 2.5)
                mark = "✓" if right else f"✗ class {said + 1}"
                text = f"{mark} {100 * task.sure[c, i]:.0f} %"
                axis.set_xlabel(
                    text, fontsize=7, color=theme.good if right else theme.bad
                )
        axes[0, 0].set_title("support", loc="left", fontsize=10)
        axes[0, shots + 1].set_title("query", loc="left", fontsize=10)

    return draw


class Curves(NamedTuple):
    """One regression task: points given, points asked, predictions before and after."""

    given: tuple[np.ndarray, np.ndarray]
    x: np.ndarray
    truth: np.ndarray
    before: np.ndarray
    after: np.ndarray


def regressions(tasks: list[Curves], steps: int) -> Draw:
    """Each task: truth, the points given, the network before and after adapting."""

    def draw(figure, theme):
        axes = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
        for axis, task in zip(axes, tasks, strict=True):
            axis.plot(task.x, task.truth, color=theme.ink, lw=1, alpha=0.55)
            axis.plot(task.x, task.before, "--", color=theme.orange, lw=1.2)
            axis.plot(task.x, task.after, color=theme.blue, lw=1.8)
            axis.plot(*task.given, "v", color=theme.bad, ms=6)
            axis.set(xlabel="x")
            axis.grid()
        names = [
            "truth",
            "before",
            f"after {steps} inner step{'s' * (steps != 1)}",
            "support",
        ]
        figure.legend(axes[0].lines, names, loc="outside upper center", ncols=4)

    return draw


def _shown(task: Drawn) -> tuple[int, int, int]:
    ways, shots = task.support.shape[:2]
    queries = task.query.shape[1]
    return min(ways, MOST_WAYS), min(shots, MOST_SHOTS), min(queries, MOST_QUERIES)


def _show(axis, image: np.ndarray, colour: str, width: float) -> None:
    grey = image.shape[-1] == 1
    axis.imshow(image[..., 0] if grey else image, cmap="gray_r", vmin=0, vmax=1)
    axis.set(xticks=[], yticks=[])
    axis.set_facecolor("white")
    for spine in axis.spines.values():
        spine.set(visible=True, color=colour, linewidth=width)


def _column(rows: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the rows that have a metric."""
    have = [row for row in rows if name in row]
    return np.array([r["step"] for r in have]), np.array([r[name] for r in have])
