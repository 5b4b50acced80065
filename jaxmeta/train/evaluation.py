"""What an evaluation found: one number, its interval, and what was taken for what."""

from typing import NamedTuple

import numpy as np
import scipy.special


class Evaluation(NamedTuple):
    """The score of a meta-learner over episodes.

    Attributes:
      mean: the mean score; NaN if that of an episode is.
      ci95: half the width of its 95 % Student-t interval over episodes. The episodes
        are drawn with replacement from one set of classes, so the interval covers the
        sampling of episodes, not the choice of classes or of the training seed.
      scores: `[episodes]`.
      metric: the headline of the criterion: "accuracy", "mse", ...
      episodes: how many.
      transductive: whether a query's prediction depends on the other queries, as
        measured on the first episode; `None` where predictions are NaN.
      nll: mean negative log-likelihood of the queries, in nats; this and what follows
        up to `coverage` is `None` without `predictive`.
      nlls: `[episodes]`; two learners are compared in pairs by them.
      entropy: mean entropy of the predictions, in nats.
      ece: expected calibration error over all queries of all episodes: of confidences
        in classification, of the quantiles in regression (`train.calibration`).
      coverage: fraction of the targets in the central 90 % band; regression alone.
      per_class: accuracy by name of a class, over all its queries; `None` for tasks
        whose classes have no names, as is `confusion`.
      confusion: `[C, C]`, how often each class (row) was taken for each (column), in
        the order of `per_class`.
      metrics: all metrics of the criterion: name -> mean over episodes.
    """

    mean: float
    ci95: float
    scores: np.ndarray
    metric: str
    episodes: int
    transductive: bool | None
    nll: float | None = None
    nlls: np.ndarray | None = None
    entropy: float | None = None
    ece: float | None = None
    coverage: float | None = None
    per_class: dict[str, float] | None = None
    confusion: np.ndarray | None = None
    metrics: dict[str, float] | None = None

    def __str__(self) -> str:
        word = {
            True: ", transductive",
            False: "",
            None: ", transductive or not unknown",
        }
        return (
            f"{self.metric} {self.mean:.4f} ± {self.ci95:.4f} "
            f"({self.episodes} episodes, 95 % t-interval{word[self.transductive]})"
        )


def interval(scores: np.ndarray) -> tuple[float, float]:
    """Mean and half-width of the 95 % Student-t interval; the unit is the episode.

        m ± t_{.975, n-1} s / sqrt(n),   s with n - 1 in the denominator

    >>> [round(x, 4) for x in interval(np.array([0.0, 1.0, 0.0, 1.0]))]
    [0.5, 0.9187]
    """
    n = len(scores)
    quantile = scipy.special.stdtrit(n - 1, 0.975)  # scipy.stats is slow to import
    scores = np.asarray(scores, np.float64)
    return float(scores.mean()), float(quantile * scores.std(ddof=1) / np.sqrt(n))


def by_class(names: tuple[str, ...], found: dict) -> dict:
    """What was taken for what, over all episodes, by the names of the classes."""
    size = len(names) + 1  # the last is for columns without a class
    rows = np.where(found["classes"] < 0, size - 1, found["classes"])
    table = np.zeros((size, size))
    np.add.at(table, (rows[:, :, None], rows[:, None, :]), found["confusion"])
    table = table[:-1, :-1]
    asked = table.sum(1)
    right = np.diag(table) / np.where(asked == 0, 1, asked)
    seen = {n: float(r) for n, r, a in zip(names, right, asked, strict=True) if a != 0}
    return {"per_class": seen, "confusion": table}
