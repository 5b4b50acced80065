"""Linear models beside the network, which sees what is not linear."""

import copy
import warnings
from typing import NamedTuple

import numpy as np

from jaxmeta.estimators import library  # noqa: F401 (says how to get what follows)

from sklearn.linear_model import LogisticRegression  # isort: skip

from jaxmeta.estimators.columns import standards

STRENGTHS = (0.003, 0.03, 0.3, 3.0, 30.0)
"""Inverse penalties that a logistic regression is tried with."""
PENALTIES = (*np.logspace(-3, 4, 22), np.inf)
"""Penalties that a ridge regression is tried with; the last leaves the mean alone."""

LEVELS = 32
"""Categories of a column that are seen: names of people have one each."""


class Design:
    """Rows as a linear model sees them: numbers standardised, categories as 0 and 1.

    A missing number counts as the mean, a missing category as none of them; so do all but
    the most frequent categories of a column. What lies beyond the known values counts as no
    further away than they are wide: a line goes on for ever, what it stands for does not.

    Args:
      known: `[n, f]`, NaN where missing.
      categorical: boolean `[f]`.
    """

    def __init__(self, known: np.ndarray, categorical: np.ndarray):
        self._kinds = categorical
        mean, std = standards(numbers := known[:, ~categorical])
        self._mean = mean
        there = np.where(np.isnan(numbers), mean, numbers)
        low, high = there.min(0, initial=np.inf), there.max(0, initial=-np.inf)
        with np.errstate(over="ignore"):  # then there is no end
            self._ends = 2 * low - high, 2 * high - low
        self._std = np.where(std > 1e-9 * np.abs(mean), std, np.inf)
        self._levels = [_frequent(c[~np.isnan(c)]) for c in known[:, categorical].T]

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """`[m, f]` as `[m, k]`."""
        z = (np.clip(x[:, ~self._kinds], *self._ends) - self._mean) / self._std
        parts = [np.where(np.isnan(z), 0, z)]
        columns = x[:, self._kinds].T
        parts += [
            (c[:, None] == levels).astype(float)
            for c, levels in zip(columns, self._levels, strict=True)
        ]
        return np.concatenate(parts, 1)


def _frequent(values: np.ndarray) -> np.ndarray:
    levels, counts = np.unique(values, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return np.sort(levels[order[:LEVELS]])


class Logistic:
    """Logistic regressions of a part of the rows, one for each penalty.

    Args:
      x: `[n, f]`.
      labels: `[n]` class numbers, of two classes or more.
      categorical: boolean `[f]`.
      strengths: inverse penalties, from the strongest penalty to the weakest.
    """

    def __init__(self, x, labels, categorical, strengths=STRENGTHS):
        self._design = Design(x, categorical)
        z, self._fitted = self._design(x), []
        # weaker penalties begin where stronger ones ended
        model = LogisticRegression(max_iter=300, warm_start=True)
        for strength in strengths:
            with warnings.catch_warnings():
                # not quite there, or many classes: it is judged by rows held out
                warnings.simplefilter("ignore", UserWarning)
                model.set_params(C=strength).fit(z, labels)
            self._fitted.append(copy.copy(model))

    def __call__(self, x: np.ndarray, classes: int) -> np.ndarray:
        """Probabilities `[strengths, m, classes]`; next to none for a class not seen."""
        z = self._design(x)
        found = np.full((len(self._fitted), len(x), classes), 1e-9)
        for p, model in zip(found, self._fitted, strict=True):
            p[:, model.classes_] = model.predict_proba(z)
        return found


class Ridge(NamedTuple):
    """A ridge regression.

    Attributes:
      design: what it sees of a row.
      weights: `[k]`.
      mean: what it says of the mean row.
      left: `[n]`, what is left of the targets that it was fitted to, each by the
        regression of all the others.
    """

    design: Design
    weights: np.ndarray
    mean: float
    left: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """`[m]`."""
        return self.design(x) @ self.weights + self.mean


def ridge(x: np.ndarray, y: np.ndarray, categorical: np.ndarray) -> Ridge:
    """The ridge regression whose errors on rows that it has not seen are smallest.

        e_i = (y_i - h_i(lam)) / (1 - H_ii(lam)),    lam = argmin sum_i e_i^2,

    with h the fitted values and H = U D^2 / (D^2 + lam) U^T + 1/n from the singular value
    decomposition U D V^T of the centred rows: leaving one out takes no second fit.

    Args:
      x: `[n, f]`, NaN where missing.
      y: `[n]`.
      categorical: boolean `[f]`.

    References:
      Golub, Heath, Wahba 1979, Generalized cross-validation as a method for choosing a
      good ridge parameter, https://doi.org/10.1080/00401706.1979.10489751, section 1.
    """
    design, n = Design(x, categorical), len(y)
    z = design(x)
    centre, mean = z.mean(0), y.mean()
    u, d, v = np.linalg.svd(z - centre, full_matrices=False)
    along = u.T @ (y - mean)
    best = (np.inf, np.zeros(len(d)), y - mean)
    for penalty in PENALTIES:
        kept = d**2 / (d**2 + penalty) if np.isfinite(penalty) else 0 * d
        room = 1 - 1 / n - (u**2) @ kept
        if room.min() <= 1e-6 and np.isfinite(penalty):
            continue  # a row that nothing but itself decides
        left = (y - mean - u @ (kept * along)) / np.maximum(room, 1e-6)
        if (cost := float((left**2).sum())) < best[0]:
            best = cost, kept, left
    _, kept, left = best
    weights = v.T @ (kept / np.where(d > 0, d, 1) * along)
    return Ridge(design, weights, float(mean - centre @ weights), left)
