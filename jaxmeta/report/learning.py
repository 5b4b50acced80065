"""How a run learned: scores, loss, gradient, speed over outer steps."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxmeta.report import page
from jaxmeta.report.figures import Draw, column, drawn, log_if_wide, plain


def learning(rows: list[dict], result: Mapping[str, Any]) -> str | None:
    """The section of learning curves.

    Args:
      rows: the lines of metrics.jsonl.
      result: what result.json holds.

    Returns:
      HTML; `None` for a run without a line.
    """
    if not rows:
        return None
    text = (
        "Means over the training tasks of each chunk of outer steps; validation on "
        "other tasks, with 95 % intervals. No test task is in it."
    )
    ways = different_ways(result)
    if ways is not None:
        text += (
            f" Training tasks have {ways[0]} classes and validation tasks {ways[1]}: "
            "their scores do not compare, so each has axes of its own."
        )
    body = drawn(_draw(rows, result), (9, 5.4), "learning curves over outer steps")
    return page.section("Learning", text, body)


def different_ways(result: Mapping[str, Any]) -> tuple[int, int] | None:
    """The ways of training and of the test, where they are known to differ."""
    train, test = result.get("train_ways"), result.get("ways")
    if not (isinstance(train, int) and isinstance(test, int)) or train == test:
        return None
    return train, test


def _draw(rows: list[dict], result: Mapping[str, Any]) -> Draw:
    metric, ways = result["metric"], different_ways(result)
    kept = result["kept_step"] if result["validation"] else None

    def draw(figure, theme):
        top, low = figure.subfigures(2, 1, height_ratios=[1.25, 1])
        val, train = column(rows, f"val_{metric}"), column(rows, metric)
        if ways is None:
            axis = top.subplots()
            _line(axis, train, theme.blue, label="training tasks")
            _validation(axis, rows, val, theme, kept)
            log_if_wide(axis, np.concatenate([train[1], val[1]]))
            _legend(top, axis, loc="outside upper right", ncols=3)
            axes = [axis]
        else:
            left, right = axes = top.subplots(1, 2)
            _line(left, train, theme.blue)
            _validation(right, rows, val, theme, kept)
            left.set_title(f"training, {ways[0]}-way", loc="left")
            right.set_title(f"validation, {ways[1]}-way", loc="left")
            if metric == "accuracy":
                for axis, n in zip(axes, ways, strict=True):
                    style = {
                        "color": theme.ink,
                        "alpha": 0.5,
                        "lw": 1,
                        "ls": (0, (6, 4)),
                    }
                    axis.axhline(1 / n, label="chance", **style)
            for axis in axes:
                _legend(axis, axis, loc="best")
        for axis in axes:
            axis.set(ylabel=plain(metric), xlabel="outer step")
        panels = (
            ("training loss", column(rows, "loss")),
            ("gradient norm", column(rows, "grad_norm")),
            ("tasks a second", column(rows, "tasks_per_second")),
        )
        panels = [(name, found) for name, found in panels if len(found[0])]
        if panels:
            small = low.subplots(1, len(panels), squeeze=False)[0]
            for axis, (name, found) in zip(small, panels, strict=True):
                _line(axis, found, theme.blue)
                axis.set_title(name, loc="left")
                axis.set_xlabel("outer step")
                if name != "tasks a second":  # which starts at zero
                    log_if_wide(axis, found[1])
            if panels[-1][0] == "tasks a second" and np.isfinite(found[1]).any():
                small[-1].set_ylim(0, 1.15 * np.nanmax(found[1]))
            axes = [*axes, *small]
        last = max(row["step"] for row in rows)
        for axis in axes:
            axis.set_xlim(-0.02 * max(last, 1), 1.02 * max(last, 1))
            axis.grid(axis="y")

    return draw


def _legend(place, axis, **more) -> None:
    """The curves first, then what is there to compare them with."""
    found = zip(*axis.get_legend_handles_labels(), strict=True)
    order = sorted(found, key=lambda pair: "tasks" not in pair[1])
    if order:
        place.legend(*zip(*order, strict=True), fontsize=9, **more)


def _line(axis, found: tuple[np.ndarray, np.ndarray], colour: str, label=None) -> None:
    marker = "o" if len(found[0]) <= 12 else None  # a line of one point is none
    axis.plot(*found, color=colour, lw=1.5, marker=marker, ms=3.5, label=label)


def _validation(axis, rows, val, theme, kept: int | None) -> None:
    if len(val[0]):
        half = column(rows, "val_ci95")[1]
        style = {"color": theme.orange, "ms": 4, "capsize": 2, "lw": 1.2}
        axis.errorbar(*val, half, fmt="o-", label="validation tasks", **style)
    if kept is not None:
        axis.axvline(kept, color=theme.ink, lw=0.9, ls=":", label=f"kept, step {kept}")
