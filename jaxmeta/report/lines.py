"""Simple lines with a band: score over inner steps, return over episodes, and so on."""

from collections.abc import Sequence

import numpy as np

from jaxmeta import train
from jaxmeta.report import page
from jaxmeta.report.figures import Draw, drawn, plain
from jaxmeta.report.finished import Finished
from jaxmeta.tasks.names import is_task

PROBE_EPISODES = 100
"""Test episodes for each number of inner steps, at most."""
_COUNTS = (0, 1, 2, 5, 10, 20, 50)


def line(
    title: str,
    text: str,
    xs: Sequence[float] | np.ndarray,
    ys: Sequence[float] | np.ndarray,
    ci: Sequence[float] | np.ndarray | None = None,
    *,
    xlabel: str = "",
    ylabel: str = "",
    mark: tuple[float, str] | None = None,
) -> str:
    """A section with one line: `return report.line(...)` makes a picture of anything.

    Args:
      title: of the section.
      text: a sentence about it.
      xs: where.
      ys: what.
      ci: half the width of a band around it.
      xlabel: of the axis.
      ylabel: likewise.
      mark: a place on the x axis, and what is there.

    Returns:
      HTML.

    >>> html = line("Return", "Over episodes.", [0, 1, 2], [1.0, 2.0, 4.0])
    """

    def draw(figure, theme):
        axis = figure.subplots()
        x, y = np.asarray(xs, float), np.asarray(ys, float)
        if ci is not None:
            half = np.asarray(ci, float)
            axis.fill_between(x, y - half, y + half, color=theme.blue, alpha=0.2, lw=0)
        axis.plot(x, y, "o-" if len(x) <= 30 else "-", color=theme.blue, ms=4, lw=1.5)
        if mark is not None:
            at, said = mark
            axis.axvline(at, color=theme.ink, lw=0.9, ls=":", label=plain(said))
            figure.legend(loc="outside upper right", fontsize=9)
        _whole_ticks(axis, x)
        axis.set(xlabel=plain(xlabel), ylabel=plain(ylabel))
        axis.grid(axis="y")

    return page.section(title, text, drawn(_checked(draw, xs, ys), (9, 3.1), title))


def _checked(draw: Draw, xs, ys) -> Draw:
    if len(xs) != len(ys) or not len(xs):
        raise ValueError(f"ys: got {len(ys)} values, wants {len(xs)}, one or more")
    return draw


def _whole_ticks(axis, x: np.ndarray) -> None:
    """Counts get a tick each, where they are few, and room where they are far apart."""
    if (x != np.round(x)).any() or len(x) > 12:
        return
    if x.min() >= 0 and x.max() > 12:
        axis.set_xscale("symlog", linthresh=5)
        axis.minorticks_off()
    axis.set_xticks(x, [f"{i:.0f}" for i in x])


def inner_steps(run: Finished) -> str | None:
    """Score over the number of inner steps: new learners, the same parameters.

    Args:
      run: the trained run.

    Returns:
      HTML, or `None` for a learner without inner steps, and where fewer than two
      numbers of them can be built.
    """
    if run.at_steps is None or run.inner_steps is None or not is_task(run.test):
        return None
    used, metric = run.inner_steps[1], run.found.metric
    episodes = min(PROBE_EPISODES, run.episodes)
    points = {}
    if len(run.found.scores) >= episodes:  # the test began with the same episodes
        points[used] = train.interval(run.found.scores[:episodes])
    for k in {k for k in _COUNTS if k <= max(used, 5)} - set(points):
        try:
            learner = run.at_steps(k)
            found = train.evaluate(
                learner,
                run.meta,
                run.test,
                run.key,
                episodes=episodes,
                transduction=False,
            )
        except ValueError:  # a learner with rates for each step, say, has no more
            continue
        if found.metric == metric:  # not another than the experiment judges by
            points[k] = (found.mean, found.ci95)
    if len(points) < 2:
        return None
    counts = sorted(points)
    mean, half = zip(*(points[k] for k in counts), strict=True)
    trained = run.inner_steps[0]
    text = (
        f"The same parameters, trained with {trained} inner step{'s' * (trained != 1)}, "
        f"tested with other numbers of them on {episodes} test episodes, with 95 % "
        "bands. It chooses nothing."
    )
    return line(
        f"Test {metric} by inner step",
        text,
        counts,
        mean,
        half,
        xlabel="inner steps on the support set",
        ylabel=f"test {metric}",
        mark=(used, "used in the test"),
    )
