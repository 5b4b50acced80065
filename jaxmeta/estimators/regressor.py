"""Real values of a table's rows, with scikit-learn's interface."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxmeta.estimators import library  # noqa: F401 (says how to get what follows)

from sklearn.base import RegressorMixin  # isort: skip

from jaxmeta.estimators.sharpness import best_temperature
from jaxmeta.estimators.tabular import Tabular
from jaxmeta.estimators.weights import trained
from jaxmeta.functional.bars import bar_log_prob, bar_moments, bar_quantile

_moments = jax.jit(bar_moments)
_quantiles = jax.jit(jax.vmap(bar_quantile, (None, None, 0), -1))


@jax.jit
def _log_prob(logits, borders, values, temperature):
    return bar_log_prob(logits / temperature, borders, values)


class TabularRegressor(RegressorMixin, Tabular):
    """Real values of a table's rows, by a network that was trained on drawn tables.

    As `TabularClassifier`. The network gives a distribution, as bars, and members are
    averaged: `predict` is its mean, `predict_quantiles` says how sure it is.

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

    Attributes:
      temperature_: the temperature.
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
        # float32 must hold them: the network is shown standardised ones
        self._centre, self._scale = y.mean(), y.std() or 1.0
        z = (y - self._centre) / self._scale
        self._show(X, z, None, 1)
        own = self.temperature
        self.temperature_ = self._best(z) if own is None else own
        return self

    def _best(self, z: np.ndarray) -> float:
        """The temperature by rows that the network was not shown."""
        borders, seen = self._borders(), []
        for kept, held in self._thirds(np.zeros(len(z), int)):
            if len(held) and len(kept):
                ensemble = self._ensemble(kept, None, 1)
                for _, logits, mean, std in self._answers(self._x[held], ensemble):
                    at = (z[held] - mean) / std
                    seen.append((held, np.float32(logits), np.float32(at), np.log(std)))
        if not seen:
            return 1.0

        def log_p(t: float) -> np.ndarray:
            total = np.full(len(z), -np.inf)
            for held, logits, at, wide in seen:
                found = _log_prob(logits, borders, at, t) - wide
                total[held] = np.logaddexp(total[held], found)
            return total

        return best_temperature(log_p)

    def _given(self, member) -> np.ndarray:
        return self._targets[member.rows, None]

    def _borders(self) -> np.ndarray:
        return np.asarray(trained(self._name()).fitted.borders, "float32")

    def _bars(self, X: Any):
        borders, t = self._borders(), np.float32(self.temperature_)
        for _, logits, mean, std in self._answers(self._numbers(X), self._members):
            yield (
                np.float32(logits) / t,
                borders,
                lambda z, m=mean, s=std: self._centre + self._scale * (m + s * z),
            )

    def predict(self, X: Any) -> np.ndarray:
        """The mean of each row's distribution `[n]`."""
        found = [
            back(np.asarray(_moments(logits, borders)[0], float))
            for logits, borders, back in self._bars(X)
        ]
        return np.mean(found, 0)

    def predict_quantiles(self, X: Any, levels: Sequence[float]) -> np.ndarray:
        """Quantiles `[n, levels]`, averaged over members.

        Args:
          X: rows.
          levels: in (0, 1).

        Raises:
          ValueError: for other levels.
        """
        wanted = np.asarray(levels, "float32")
        if wanted.ndim != 1 or not ((0 < wanted) & (wanted < 1)).all():
            raise ValueError(f"levels: got {levels}, wants numbers in (0, 1)")
        found = [
            back(np.asarray(_quantiles(logits, borders, wanted), float))
            for logits, borders, back in self._bars(X)
        ]
        return np.mean(found, 0)
