"""What a classifier says of many test queries: is it as sure as it is right?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import metrics
from jaxmeta.report import page
from jaxmeta.report.figures import Draw, drawn
from jaxmeta.report.finished import Finished
from jaxmeta.report.seen import rows, says_how_sure, see, softmax

BINS = 10
ENOUGH = 1500
"""Predictions that make a smooth curve: fewer episodes where an episode has many."""
MOST_EPISODES = 60
RARE = 0.01
"""Share of the predictions below which a bin is not part of the curve."""


class Calibration(NamedTuple):
    """Confidence against accuracy, by bins of confidence.

    Attributes:
      confidence: the mean of the largest probability, a bin that has any query.
      accuracy: how many of these predictions are right.
      share: of all queries.
      error: the expected calibration error, sum of share |accuracy - confidence|.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray
    error: float


def calibration(run: Finished) -> str | None:
    """Confidence against accuracy over test episodes.

    Args:
      run: the trained run.

    Returns:
      HTML, or `None` where outputs are no logits, or no episode can be drawn.
    """
    if run.tester is None or not says_how_sure(run):
        return None
    table, episodes = counted(run)
    if not episodes:
        return None
    title = "Confidence"
    if np.isnan(table).any():
        return page.section(title, "Outputs are not finite: there is none.", "")
    found = summary(table)
    error = found.error if run.found.ece is None else run.found.ece
    text = (
        f"{episodes} test episodes, {int(table[:, 0].sum()):,} predictions, grouped by "
        "how sure they are. Below the dotted line is too sure. "
        f"The calibration error is {100 * error:.1f} %"
        f"{', over all test episodes' * (run.found.ece is not None)}."
    )
    body = drawn(_draw(found), (9, 4.2), "confidence against accuracy")
    return page.section(title, text, body)


def counted(run: Finished) -> tuple[np.ndarray, int]:
    """`metrics.calibration_bins` over test episodes, and how many there were."""
    said, true, done = [], [], 0
    while done < min(MOST_EPISODES, run.episodes) and sum(map(len, true)) < ENOUGH:
        seen = see(run, done)
        if seen is None:
            break
        query = rows(seen.episode.query)
        said.append(softmax(seen.outputs[query.at].astype(np.float64)))
        true.append(query.targets)
        done += 1
    if not done:
        return np.zeros((BINS, 3)), 0
    table = metrics.calibration_bins(_together(said), _together(true), BINS)
    return np.asarray(table), done


def _together(tables: list[np.ndarray]) -> jax.Array:
    """The rows of all; episodes from a list may differ in their classes."""
    width = max(table.shape[1] for table in tables)
    fill = [np.pad(t, ((0, 0), (0, width - t.shape[1]))) for t in tables]
    return jnp.asarray(np.concatenate(fill))


def summary(table: np.ndarray) -> Calibration:
    """What a table of `metrics.calibration_bins` shows.

    >>> table = np.array([[0.0, 0.0, 0.0], [10.0, 9.0, 5.0]])  # 90 % sure, 50 % right
    >>> found = summary(table)
    >>> found.confidence.tolist(), found.accuracy.tolist(), round(found.error, 3)
    ([0.9], [0.5], 0.4)
    """
    counts, sure, right = table[table[:, 0] > 0].T
    error = float(metrics.calibration_error(jnp.asarray(table)))
    return Calibration(sure / counts, right / counts, counts / counts.sum(), error)


def _draw(found: Calibration) -> Draw:
    """Dots above; how many predictions stand behind each, below."""

    def draw(figure, theme):
        top, low = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
        )
        often = found.share >= RARE
        top.plot([0, 1], [0, 1], ":", color=theme.ink, lw=0.9, label="as sure as right")
        style = {"color": theme.blue, "ms": 5, "lw": 1.5}
        kept = found.confidence[often], found.accuracy[often]
        top.plot(*kept, "o-", label="found", clip_on=False, **style)
        if not often.all():
            rest = found.confidence[~often], found.accuracy[~often]
            label = f"found, fewer than {100 * RARE:.0f} % of the predictions"
            top.plot(*rest, "o", mfc="none", clip_on=False, label=label, **style)
        top.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        top.grid()
        # beside the axes: a rare bin may be anywhere in them
        figure.legend(loc="outside upper center", ncols=3, fontsize=9)
        low.bar(
            found.confidence, 100 * found.share, 0.6 / BINS, color=theme.blue, alpha=0.7
        )
        low.set(xlabel="confidence (largest probability)", ylabel="share, %")
        figure.align_ylabels([top, low])

    return draw
