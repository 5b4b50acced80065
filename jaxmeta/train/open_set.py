"""Strangers: queries of classes that the support lacks, and how well they are told.

A *stranger* should be turned away, a *known* query should not. Of a threshold on
`functional.familiarity`, two rates say all:

    wrong rejections:   the share of known queries that are turned away
    right rejections:   the share of strangers that are turned away
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.special

from jaxmeta.checks import refusal, within
from jaxmeta.functional.familiarity import Score
from jaxmeta.train.evaluation import interval

WRONG = 0.05
"""Known queries that a threshold may turn away, as a share."""


class OpenSet(NamedTuple):
    """How well strangers are told from known queries, over episodes.

    Attributes:
      score: what was thresholded, see `functional.familiarity`.
      threshold: a query whose familiarity is below it is turned away.
      auroc: the chance that a stranger is less familiar than a known query of the same
        episode, a tie being half of it; the mean over episodes.
      auroc_ci95: half the width of its 95 % t-interval over episodes; so are the others.
      right_rejections: share of the strangers that are turned away.
      right_rejections_ci95: of it.
      wrong_rejections: share of the known queries that are turned away.
      wrong_rejections_ci95: of it.
      episodes: how many.
    """

    score: Score
    threshold: float
    auroc: float
    auroc_ci95: float
    right_rejections: float
    right_rejections_ci95: float
    wrong_rejections: float
    wrong_rejections_ci95: float
    episodes: int

    def __str__(self) -> str:
        def said(name: str) -> str:
            mean, half = getattr(self, name), getattr(self, f"{name}_ci95")
            return f"{100 * mean:.1f} % ± {100 * half:.1f}"

        return (
            f"AUROC {self.auroc:.3f} ± {self.auroc_ci95:.3f}, {said('right_rejections')} "
            f"of strangers turned away with {said('wrong_rejections')} of known ones"
        )


def placements(one: npt.ArrayLike, others: npt.ArrayLike) -> np.ndarray:
    """Of each of `one`, the share of `others` that are below it; a tie is half below.

    Returns:
      `[n]` in [0, 1]; NaN where either holds a NaN.

    >>> placements([1.0, 3.0], [1.0, 2.0]).tolist()
    [0.25, 1.0]
    """
    one, others = np.asarray(one, float), np.sort(np.asarray(others, float))
    if one.ndim != 1 or others.ndim != 1 or not one.size or not others.size:
        shapes = f"{list(one.shape)} and {list(others.shape)}"
        raise refusal("scores", shapes, "two rows of one number or more")
    if np.isnan(one).any() or np.isnan(others).any():
        return np.full(len(one), np.nan)
    below = np.searchsorted(others, one, "left") + np.searchsorted(others, one, "right")
    return below / (2 * len(others))


def auroc(known: npt.ArrayLike, strangers: npt.ArrayLike) -> float:
    """Area under the curve of right against wrong rejections, over all thresholds.

        AUROC = P(known > stranger) + 1/2 P(known = stranger)

    the statistic of Mann and Whitney over n m: 1 where every stranger is less familiar
    than every known query, 1/2 where nothing tells them apart.

    Args:
      known: familiarity of known queries, `[n]`.
      strangers: of strangers, `[m]`.

    Returns:
      A number in [0, 1]; NaN if a score is.

    Raises:
      ValueError: no score, or what is no row.

    References:
      Hanley and McNeil 1982, https://doi.org/10.1148/radiology.143.1.7063747.

    >>> auroc([2.0, 3.0, 4.0], [1.0, 2.0])
    0.9166666666666666
    """
    return float(placements(known, strangers).mean())


def auroc_interval(known: npt.ArrayLike, strangers: npt.ArrayLike) -> float:
    """Half the width of a 95 % interval of `auroc`, over the queries of one sample.

        1.96 sqrt(var_i P(strangers < known_i) / n + var_j P(known > stranger_j) / m)

    Args:
      known: as in `auroc`, 2 or more.
      strangers: likewise.

    Returns:
      A number; NaN where either holds fewer than two.

    References:
      DeLong et al. 1988, https://doi.org/10.2307/2531595.

    >>> round(auroc_interval([2.0, 3.0, 4.0], [1.0, 2.0]), 3)
    0.231
    """
    rows = placements(known, strangers), placements(strangers, known)
    if min(map(len, rows)) < 2:
        return float("nan")
    return float(1.96 * np.sqrt(sum(x.var(ddof=1) / len(x) for x in rows)))


def share_interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of Wilson for a share of `n`: never empty, never outside [0, 1].

        (k + z²/2 ± z sqrt(k (n - k) / n + z²/4)) / (n + z²),   k of n, z = 1.96

    >>> [round(x, 3) for x in share_interval(1.0, 10)]
    [0.722, 1.0]
    """
    k, z = round(share * n), float(scipy.special.ndtri(0.975))
    middle = (k + z**2 / 2) / (n + z**2)
    half = z * np.sqrt(k * (n - k) / n + z**2 / 4) / (n + z**2)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def threshold_at(known: npt.ArrayLike, wrong: float = WRONG) -> float:
    """The highest threshold below which there is at most a share `wrong` of `known`.

    It is one of the scores: that of number floor(wrong n) in order, from 0. With fewer
    than 1 / wrong of them none is below.

    Args:
      known: familiarity of known queries, `[n]`.
      wrong: the share, in [0, 1).

    Returns:
      The threshold; NaN if a score is.

    Raises:
      ValueError: no score, or a share that is none.

    >>> threshold_at(np.arange(40.0))
    2.0
    """
    within("[0, 1)", wrong=wrong)
    known = np.asarray(known, float).ravel()
    if not len(known):
        raise refusal("known", "no score", "one or more")
    if np.isnan(known).any():
        return float("nan")
    return float(np.sort(known)[int(wrong * len(known) + 1e-9)])


def judged(
    known: Sequence[npt.ArrayLike],
    strangers: Sequence[npt.ArrayLike],
    *,
    score: Score = "max_probability",
    threshold: float | None = None,
    wrong: float = WRONG,
) -> OpenSet:
    """AUROC and both rates over episodes.

    Args:
      known: familiarity of the known queries of each episode, `[episodes][n]`.
      strangers: of the strangers, `[episodes][m]`.
      score: what they are, for the record.
      threshold: `None`: `threshold_at` of all known queries together; the rates are then
        those of the episodes that it was chosen by.
      wrong: for that.

    Returns:
      An `OpenSet`.

    Raises:
      ValueError: fewer than two episodes, or an empty one.

    >>> print(judged([[1.0, 2.0]] * 2, [[0.0, 1.5], [0.0, 0.0]]))
    AUROC 0.875 ± 1.588, 75.0 % ± 317.7 of strangers turned away with 0.0 % ± 0.0 of known ones
    """
    if len(known) < 2 or len(known) != len(strangers):
        got = f"{len(known)} and {len(strangers)} episodes"
        raise refusal("known, strangers", got, "as many, 2 or more")
    known, strangers = ([np.asarray(x, float) for x in y] for y in (known, strangers))
    if threshold is None:
        threshold = threshold_at(np.concatenate(known), wrong)
    area = [auroc(k, s) for k, s in zip(known, strangers, strict=True)]
    (right, right_ci), (wrong, wrong_ci) = (
        interval(np.array([rejected(x, threshold) for x in scores]))
        for scores in (strangers, known)
    )
    mean, ci = interval(np.array(area))
    return OpenSet(
        score, threshold, mean, ci, right, right_ci, wrong, wrong_ci, len(known)
    )


def rejected(scores: npt.ArrayLike, threshold: float) -> float:
    """The share of scores that are below the threshold; NaN if a score is.

    >>> rejected([1.0, 2.0, 3.0, 4.0], 3.0)
    0.5
    """
    scores = np.asarray(scores, float)
    return (
        float("nan") if np.isnan(scores).any() else float(np.mean(scores < threshold))
    )
