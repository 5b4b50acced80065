"""Real values of a table's rows, with scikit-learn's interface."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxmeta.estimators import library  # noqa: F401 (says how to get what follows)

from sklearn.base import RegressorMixin  # isort: skip

from jaxmeta.estimators.linear import Ridge, ridge
from jaxmeta.estimators.sharpness import best_temperature
from jaxmeta.estimators.tabular import Tabular
from jaxmeta.functional.bars import bar_log_prob, bar_moments, bar_quantile
from jaxmeta.recipes.packed import trained


def _exactly(f: Callable) -> Callable:
    """`f` compiled, in float64: a row's answer is the same whatever stands beside it."""
    compiled = jax.jit(f)

    def run(*arrays):
        with jax.enable_x64(True):
            return np.asarray(compiled(*(np.asarray(x, float) for x in arrays)))

    return run


_means = _exactly(lambda logits, borders: bar_moments(logits, borders)[0])
_quantiles = _exactly(jax.vmap(bar_quantile, (None, None, 0), -1))
_log_prob = _exactly(
    lambda logits, borders, values, t: bar_log_prob(logits / t, borders, values)
)


def within_fences(y: np.ndarray, fence: float = 5.0) -> np.ndarray:
    """Values no further from the quartiles than `fence` times their distance.

    One value that is far out would leave no difference between the others, once they are
    standardised. Where the quartiles are the same, nothing is changed.

    Args:
      y: `[n]`.
      fence: how many times.

    Returns:
      `[n]`.

    >>> within_fences(np.array([1.0, 2.0, 3.0, 4.0, 1e6])).tolist()
    [1.0, 2.0, 3.0, 4.0, 14.0]
    """
    low, high = np.quantile(y, [0.25, 0.75])
    reach = fence * (high - low)
    return np.clip(y, low - reach, high + reach) if reach > 0 else y


class TabularRegressor(RegressorMixin, Tabular):
    """Real values of a table's rows, by a network that was trained on drawn tables.

    As `TabularClassifier`. The network gives a distribution, as bars, and members are
    averaged: `predict` is its mean, `predict_quantiles` says how sure it is. Beside it
    stands a ridge regression h, and the network is shown what that leaves,

        y_i - s h_{-i}(x_i),    y(x) = s h(x) + network(x),

    with h_{-i} fitted to all rows but the i-th, so that what the network sees of the rows is
    as large as what it is asked for. Targets that are far out, five times the distance of
    the quartiles beyond them, are drawn in.

    Args:
      members: how many; more where there are many columns.
      max_rows: that a member sees; None: what the network was made for.
      max_columns: likewise.
      categorical_features: numbers or names of columns that are categories though they
        hold numbers.
      weights: what `pack` wrote; None: the network of the package.
      random_state: decides orders and subsets.
      temperature: what log-probabilities of bars are divided by; None: chosen in `fit`, as
        in `TabularClassifier`.
      linear: s, how much of the ridge regression is taken off, from 0, the network alone,
        to 1; None: 0 or 1, chosen as the temperature is, which asks the thirds twice. Its
        penalty is the best for rows left out.

    Attributes:
      temperature_: the temperature.
      linear_: s.
      n_features_in_: the number of columns.
    """

    _usual = "values"

    def fit(self, X: Any, y: Any) -> "TabularRegressor":
        """Keeps the table.

        Args:
          X: a DataFrame or an array `[n, f]`.
          y: `[n]` numbers.

        Raises:
          ValueError: for anything else.
        """
        X, y = self._checked(X, y, real=True)
        y = np.asarray(y, float)
        # in parts of it, as five times the distance of quartiles need be no number
        y = within_fences(y / 16)
        # float32 must hold them: the network is shown standardised ones
        size = float(np.abs(y).max()) or 1.0
        self._unit, y = 16 * size, y / size
        self._centre, self._scale = y.mean(), y.std()
        z = (y - self._centre) / (self._scale or 1.0)
        self._keep(X, z)
        self.temperature_, self.linear_ = self._best(z)
        everything = np.arange(len(X))
        self._ridge, self._targets = self._left(everything, z, self.linear_)
        self._members = self._ensemble(everything, None, 1)
        return self

    def _left(
        self, kept, z: np.ndarray, share: float
    ) -> tuple[Ridge | None, np.ndarray]:
        """A ridge regression of some rows, and what it leaves of their targets, `[n]`."""
        if share == 0:
            return None, z
        line = ridge(self._x[kept], z[kept], self._columns.categorical)
        left = np.zeros_like(z)
        left[kept] = z[kept] - share * (z[kept] - line.left)
        return line, left

    def _best(self, z: np.ndarray) -> tuple[float, float]:
        """Temperature and share by rows that the network was not shown."""
        t, share = self.temperature, self.linear
        if t is not None and share is not None:
            return t, share
        shares = (0.0, 1.0) if share is None else (share,)
        thirds = list(self._thirds(np.zeros(len(z), int)))
        tried = []
        for s in shares:
            log_p = self._held_out(z, s, thirds)
            if log_p is None:
                return 1.0 if t is None else t, share or 0.0
            tried.append((*best_temperature(log_p, t), s))
        t, _, s = min(tried, key=lambda found: found[1])
        return t, s

    def _held_out(self, z: np.ndarray, share: float, thirds):
        """From a temperature to the log-probabilities of rows that were not shown."""
        borders, seen = self._borders(), []
        for kept, held in thirds:
            if not len(held) or not len(kept):
                continue
            line, self._targets = self._left(kept, z, share)
            x = self._x[held]
            rest = z[held] if line is None else z[held] - share * line(x)
            for _, logits, mean, std in self._answers(x, self._ensemble(kept, None, 1)):
                seen.append((held, logits, (rest - mean) / std, np.log(std)))
        if not seen:
            return None

        asked = np.concatenate([held for _, held in thirds])

        def log_p(t: float) -> np.ndarray:
            total = np.full(len(z), -np.inf)
            for held, logits, at, wide in seen:
                found = _log_prob(logits, borders, at, t) - wide
                total[held] = np.logaddexp(total[held], found)
            return total[asked]

        return log_p

    def _given(self, member) -> np.ndarray:
        return self._targets[member.rows, None]

    def _borders(self) -> np.ndarray:
        return np.asarray(trained(self._name()).fitted.borders)

    def _bars(self, numbers: np.ndarray):
        borders, t = self._borders(), self.temperature_
        for _, logits, mean, std in self._answers(numbers, self._members):
            yield (
                logits / t,
                borders,
                lambda z, m=mean, s=std: (
                    self._unit * (self._centre + self._scale * (m + s * z))
                ),
            )

    def _line(self, numbers: np.ndarray) -> np.ndarray:
        """What the ridge regression adds to each row, `[n]`."""
        if self._ridge is None:
            return np.zeros(len(numbers))
        return self._unit * (self._scale * self.linear_ * self._ridge(numbers))

    def predict(self, X: Any) -> np.ndarray:
        """The mean of each row's distribution `[n]`."""
        numbers = self._numbers(X)
        found = [
            back(_means(logits, borders))
            for logits, borders, back in self._bars(numbers)
        ]
        return np.mean(found, 0) + self._line(numbers)

    def predict_quantiles(self, X: Any, levels: Sequence[float]) -> np.ndarray:
        """Quantiles `[n, levels]`, averaged over members.

        Args:
          X: rows.
          levels: in (0, 1).

        Raises:
          ValueError: for other levels.
        """
        wanted = np.asarray(levels, float)
        if wanted.ndim != 1 or not ((0 < wanted) & (wanted < 1)).all():
            raise ValueError(f"levels: got {levels}, wants numbers in (0, 1)")
        numbers = self._numbers(X)
        found = [
            back(_quantiles(logits, borders, wanted))
            for logits, borders, back in self._bars(numbers)
        ]
        return np.mean(found, 0) + self._line(numbers)[:, None]
