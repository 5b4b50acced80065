"""comparison.html: several runs on the same episodes, to be looked at."""

import html
from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from jaxmeta.report import page
from jaxmeta.report.figures import Draw, Theme, drawn

Rows = Mapping[str, list[dict]]
"""Run -> the lines of its metrics.jsonl."""


def write_comparison(file: Path, result: Mapping[str, Any], rows: Rows) -> None:
    """Draws what was compared and writes a page.

    Args:
      file: comparison.html.
      result: what comparison.json holds.
      rows: the metrics of each run.
    """
    metric, runs = result["metric"], result["runs"]
    better = "lower" if result["best"] == "min" else "higher"
    text = (
        f"{metric} over the same {result['episodes']:,} test episodes; {better} is "
        "better. Differences are to the first run, episode by episode; all intervals are "
        "95 % t-intervals over episodes, and say nothing of other training seeds."
    )
    names = ", ".join(f"{k} {v}" for k, v in result.items() if k in _FACTS)
    parts = [f"<h1>{len(runs)} runs in pairs</h1><p>{html.escape(names)}</p>"]
    parts.append(page.section("Scores", text, _table(result)))
    size = (9, 1.0 + 0.42 * len(runs))
    body = drawn(_differences(result), size, "differences to the first run")
    text = "An interval that does not touch the line is a difference in these episodes."
    parts.append(page.section(f"Difference to {runs[0]['run']}", text, body))
    body = drawn(_curves(rows, metric), (9, 3.6), "learning curves of all runs")
    text = (
        "Training losses of different methods need not mean the same; validation does, "
        "where the validation tasks are the same. No test episode is in it."
    )
    parts.append(page.section("Learning curves", text, body))
    where = page.table(result["fingerprint"])
    parts.append(page.section("Where it ran", "This comparison.", where))
    page.write(file, page.page("comparison - jaxmeta", parts))


_FACTS = ("dataset", "split", "ways", "shots", "queries", "domains")


def _table(result: Mapping[str, Any]) -> str:
    """A row each run, with what it was and how it was trained."""
    metric = result["metric"]
    scale, digits = (100, 2) if metric == "accuracy" else (1, 4)
    unit = " %" if metric == "accuracy" else ""

    def number(row, name: str, half: str, sign: str = "") -> str:
        if row.get(name) is None or row.get(half) is None:
            return "nan" if name in row else "&ndash;"
        value = f"{scale * row[name]:{sign}.{digits}f}"
        return f"{value} ± {scale * row[half]:.{digits}f}"

    head = ("run", "", f"{metric}{unit}", "difference", "steps x tasks", "")
    cells = [[f"<b>{h}</b>" for h in head]]
    words = {True: "transductive", False: "", None: "transductive or not is unknown"}
    for row in result["runs"]:
        cells.append([
            html.escape(row["run"]),
            html.escape(str(row["title"])),
            number(row, metric, "ci95"),
            number(row, "difference", "difference_ci95", "+"),
            f"{row['steps']:,} x {row['batch']}, seed {row['seed']}",
            words[row["transductive"]],
        ])  # fmt: skip
    lines = ("".join(f"<td>{cell}</td>" for cell in line) for line in cells)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _styles(theme: Theme, n: int) -> list[dict[str, Any]]:
    """Colours that differ to every kind of eye; when they are used up, dashes."""
    colours = (theme.blue, theme.orange, theme.good, theme.ink)
    styles = [{"color": c, "ls": s} for s in ("-", "--", ":", "-.") for c in colours]
    return list(islice(cycle(styles), n))


def _differences(result: Mapping[str, Any]) -> Draw:
    """A line each run: the difference to the first, with its interval."""
    scale = 100 if result["metric"] == "accuracy" else 1
    unit = "points of accuracy" if scale == 100 else result["metric"]

    def draw(figure, theme):
        axis = figure.subplots()
        others = result["runs"][1:]
        axis.axvline(0, color=theme.ink, lw=0.8, ls=":")
        for i, row in enumerate(others):
            if row["difference"] is not None and row["difference_ci95"] is not None:
                mean, half = scale * row["difference"], scale * row["difference_ci95"]
                axis.errorbar(mean, i, xerr=half, fmt="o", color=theme.blue, capsize=3)
        axis.set_yticks(range(len(others)), [_short(row["run"]) for row in others])
        axis.set_ylim(len(others) - 0.5, -0.5)
        axis.set(xlabel=f"difference, {unit}")
        axis.grid(axis="x")

    return draw


def _curves(rows: Rows, metric: str) -> Draw:
    """Training loss on the left; validation on the right, or training without one."""

    def draw(figure, theme):
        left, right = figure.subplots(1, 2)
        validated = any(
            f"val_{metric}" in row for lines in rows.values() for row in lines
        )
        shown = f"val_{metric}" if validated else metric
        styles = _styles(theme, len(rows))
        for (run, lines), style in zip(rows.items(), styles, strict=True):
            for axis, name in ((left, "loss"), (right, shown)):
                steps, values = _column(lines, name)
                mark = (
                    "o" if len(steps) <= 30 else None
                )  # a line of one point is nothing
                look = {"lw": 1.4, "marker": mark, "ms": 3.5, **style}
                axis.plot(steps, values, label=_short(run), **look)
        left.set(xlabel="outer step", ylabel="training loss")
        label = f"validation {metric}" if validated else f"training {metric}"
        right.set(xlabel="outer step", ylabel=label)
        for axis in (left, right):
            axis.grid(axis="y")
        figure.legend(
            *left.get_legend_handles_labels(),
            fontsize=9,
            loc="outside lower center",
            ncols=min(len(rows), 4),
        )

    return draw


def _column(lines: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of the lines that have it."""
    found = [(row["step"], row[name]) for row in lines if row.get(name) is not None]
    steps, values = zip(*found, strict=True) if found else ((), ())
    return np.asarray(steps), np.asarray(values)


def _short(run: str) -> str:
    """The end of a long path."""
    return run if len(run) <= 32 else f"...{run[-29:]}"
