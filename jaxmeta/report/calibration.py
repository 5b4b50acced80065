"""What a classifier says of many test queries: is it as sure as it is right?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmeta import metrics, train
from jaxmeta.report.finished import Finished
from jaxmeta.tasks.names import as_partial

BINS = 10


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


def judge(finished: Finished, episodes: int) -> np.ndarray:
    """Predicts the queries of the first test episodes.

    Args:
      finished: the trained run.
      episodes: how many.

    Returns:
      The sum of their `metrics.calibration_bins`, `[BINS, 3]`.
    """

    @jax.jit
    def run(meta, task, key):
        def one(t):
            sampling, adapting = jax.random.split(jax.random.fold_in(key, t))
            episode = task(sampling)
            outputs = train.predictions(finished.tester, meta, episode, adapting)
            said = jax.nn.softmax(outputs)
            query = episode.query
            return metrics.calibration_bins(said, query.targets, BINS, query.weights)

        return lax.map(one, jnp.arange(episodes)).sum(0)

    return np.asarray(run(finished.meta, as_partial(finished.test), finished.key))


def calibration(table: np.ndarray) -> Calibration:
    """What a table of `metrics.calibration_bins` shows.

    >>> table = np.array([[0.0, 0.0, 0.0], [10.0, 9.0, 5.0]])  # 90 % sure, 50 % right
    >>> found = calibration(table)
    >>> found.confidence.tolist(), found.accuracy.tolist(), round(found.error, 3)
    ([0.9], [0.5], 0.4)
    """
    counts, sure, right = table[table[:, 0] > 0].T
    error = float(metrics.calibration_error(jnp.asarray(table)))
    return Calibration(sure / counts, right / counts, counts / counts.sum(), error)


def confusion(said: np.ndarray, ways: int) -> np.ndarray:
    """Counts of predictions: row is the true class, column the predicted one.

    Args:
      said: the predicted class of each query, `[ways, queries]`, class by class.
      ways: how many classes.

    Returns:
      Integers `[ways, ways]`.

    >>> confusion(np.array([[0, 0], [1, 0]]), 2).tolist()
    [[2, 0], [1, 1]]
    """
    return np.stack([np.bincount(row, minlength=ways) for row in said])
