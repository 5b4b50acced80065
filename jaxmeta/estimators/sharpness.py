"""What a table decides: how sure to be, and how much a linear model counts."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

FOLDS = 3
SHARES = np.linspace(0, 1, 11)
"""Of the linear model, that are tried."""
LOWEST, HIGHEST = 1 / 16, 16.0


def tempered(p: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at another temperature: `p_T = p^(1/T) / sum p^(1/T)`, `[n, c]`.

    >>> tempered(np.array([[0.8, 0.2]]), 0.5).round(3)
    array([[0.941, 0.059]])
    """
    return softmax(np.log(np.maximum(p, 1e-30)) / temperature, -1)


def blended(p: np.ndarray, q: np.ndarray, share: float) -> np.ndarray:
    """The geometric mean of two beliefs: `p^(1-s) q^s / sum p^(1-s) q^s`, `[n, c]`.

    >>> blended(np.array([[0.8, 0.2]]), np.array([[0.5, 0.5]]), 0.5).round(3)
    array([[0.667, 0.333]])
    """
    p, q = (np.log(np.maximum(x, 1e-30)) for x in (p, q))
    return softmax((1 - share) * p + share * q, -1)


class Found(NamedTuple):
    """The best temperature, and what it costs: nats of all held-out rows and its prior."""

    temperature: float
    cost: float


def best_temperature(
    log_p: Callable[[float], np.ndarray], given: float | None = None
) -> Found:
    """The temperature that held-out rows are most probable at.

        T = argmin_T  -sum_i log p_T(y_i | x_i) + 1/2 (log T)^2

    The last term, a log-normal prior around 1, keeps a few rows from deciding much.

    Args:
      log_p: from T to the log-probabilities `[n]` of rows that were not shown.
      given: T, where it is not to be chosen.

    Returns:
      T, from 1/16 to 16, and the minimum.

    References:
      Guo, Pleiss, Sun, Weinberger 2017, On Calibration of Modern Neural Networks,
      arXiv:1706.04599, section 4.2.
    """

    def cost(log_t: float) -> float:
        return float(-log_p(float(np.exp(log_t))).sum() + 0.5 * log_t**2)

    if given is not None:
        return Found(given, cost(float(np.log(given))))
    bounds = (np.log(LOWEST), np.log(HIGHEST))
    found: Any = minimize_scalar(cost, bounds=bounds, method="bounded")
    return Found(float(np.exp(found.x)), float(found.fun))


def folds(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """The fold of each row `[n]`: every class is spread over all of them.

    >>> np.bincount(folds(np.random.default_rng(0), np.array([0] * 6 + [1] * 3))[:6])
    array([2, 2, 2])
    """
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    found = np.empty(len(labels), int)
    found[order] = np.arange(len(labels)) % FOLDS
    return found
