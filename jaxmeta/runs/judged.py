"""What a classifier says of many test queries: is it as sure as it is right?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmeta import train
from jaxmeta.core import Meta
from jaxmeta.runs import keys
from jaxmeta.runs.build import Job

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


def judge(job: Job, meta: Meta, episodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Predicts the queries of the first test episodes.

    Args:
      job: the recipe, built.
      meta: the parameters.
      episodes: how many.

    Returns:
      Probabilities and targets, each `[episodes, n, c]`.
    """

    @jax.jit
    def run(meta, task, key):
        def one(t):
            sampling, adapting = jax.random.split(jax.random.fold_in(key, t))
            episode = task(sampling)
            outputs = train.predictions(job.tester, meta, episode, adapting)
            return jax.nn.softmax(outputs), episode.query.targets

        return lax.map(one, jnp.arange(episodes))

    said, truth = run(meta, job.tasks.test, keys.test())
    return np.asarray(said), np.asarray(truth)


def calibration(probabilities: np.ndarray, targets: np.ndarray) -> Calibration:
    """Bins predictions by their confidence.

    Args:
      probabilities: `[..., c]`.
      targets: one-hot rows `[..., c]`; rows of zeros are padding.

    Returns:
      A `Calibration`.

    References:
      Guo et al. 2017, https://arxiv.org/abs/1706.04599, eqs. 1-3.

    >>> sure = np.array([[0.9, 0.1], [0.9, 0.1]])
    >>> round(calibration(sure, np.eye(2)).error, 3)  # 90 % sure, 50 % right
    0.4
    """
    c = probabilities.shape[-1]
    p, t = probabilities.reshape(-1, c), targets.reshape(-1, c)
    p, t = p[t.sum(1) > 0], t[t.sum(1) > 0]
    sure, right = p.max(1), p.argmax(1) == t.argmax(1)
    which = np.minimum((sure * BINS).astype(int), BINS - 1)
    counts = np.bincount(which, minlength=BINS)
    have = counts > 0
    confidence, accuracy = (
        np.bincount(which, x, minlength=BINS)[have] / counts[have]
        for x in (sure, right)
    )
    share = counts[have] / len(p)
    error = float((share * np.abs(accuracy - confidence)).sum())
    return Calibration(confidence, accuracy, share, error)


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
