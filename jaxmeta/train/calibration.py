"""How sure a learner is, and whether it should be: counted over many episodes."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import criteria, losses, metrics
from jaxmeta.core import Array, Episode
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.gaussian import row_mean
from jaxmeta.functional.predictive import Predictive
from jaxmeta.functional.rows import spread, weights_of

BINS = 15
LEVEL = 0.9


def statistics(belief: Predictive, episode: Episode) -> dict[str, Array]:
    """What one episode adds to the evaluation of a predictive distribution.

    Args:
      belief: about the queries.
      episode: the task; classes without a support example are never predicted, queries
        count as much as their weights say.

    Returns:
      "nll" and "entropy", means over the queries; "table": in classification
      `metrics.calibration_bins`, in regression how many targets fall in each of 15
      equally likely intervals `[15]`; "coverage" of the 90 % band, in regression.

    >>> from jaxmeta.testing import probe
    >>> episode = probe()(jax.random.key(0))
    >>> sorted(statistics(pr.categorical(jnp.zeros((12, 3))), episode))
    ['entropy', 'nll', 'table']
    """
    weights = episode.query.weights
    belief, targets = pr.counted(belief, episode.query.targets, weights)
    if belief.std is not None:
        at = jnp.clip((pr.cdf(belief, targets) * BINS).astype("int32"), 0, BINS - 1)
        each = spread(weights_of(episode.query), at)
        return {
            "nll": pr.nll(belief, targets, weights),
            "entropy": losses.weighted_mean(row_mean(pr.entropy(belief)), weights),
            "table": jnp.zeros(BINS).at[at].add(jnp.broadcast_to(each, at.shape)),
            "coverage": pr.coverage(belief, targets, weights, level=LEVEL),
        }
    prepare = criteria.classification.prepare
    known = jax.vmap(prepare, (0, None))(belief.members, episode.support)
    belief = pr.categorical(known)
    return {
        "nll": pr.nll(belief, targets, weights),
        "entropy": losses.weighted_mean(pr.entropy(belief), weights),
        "table": metrics.calibration_bins(pr.mean(belief), targets, BINS, weights),
    }


def quantile_error(counts: np.ndarray) -> float:
    """Calibration error of a regressor, from how many targets fall in each interval.

        mean over levels b/B of | fraction of targets below the predicted quantile - b/B |

    References:
      Kuleshov et al. 2018, arXiv:1807.00263, section 3.5, with absolute differences.

    >>> quantile_error(np.array([5.0, 5.0, 5.0, 5.0]))
    0.0
    >>> quantile_error(np.array([20.0, 0.0]))
    0.5
    """
    bins = len(counts)
    below = np.cumsum(counts)[:-1] / np.sum(counts)
    return float(np.mean(np.abs(below - np.arange(1, bins) / bins)))


def summarise(found: dict[str, np.ndarray]) -> dict:
    """The fields of an `Evaluation` from the `statistics` of all its episodes.

    >>> sorted(summarise({"nll": np.ones(2), "entropy": np.ones(2), "table": np.ones((2, 3))}))
    ['coverage', 'ece', 'entropy', 'nll', 'nlls']
    """
    table = np.asarray(found["table"], np.float64).sum(0)
    if table.ndim == 1:
        error = quantile_error(table)
    else:
        error = float(metrics.calibration_error(jnp.asarray(table)))

    def mean(name: str) -> float | None:
        return float(np.mean(found[name], dtype=np.float64)) if name in found else None

    return {
        "nll": mean("nll"),
        "nlls": np.asarray(found["nll"]),
        "entropy": mean("entropy"),
        "ece": error,
        "coverage": mean("coverage"),
    }
