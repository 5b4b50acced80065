"""Real values of a table's rows, with scikit-learn's interface."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxmeta.estimators import library  # noqa: F401 (says how to get what follows)

from sklearn.base import RegressorMixin  # isort: skip

from jaxmeta.estimators.tabular import Tabular
from jaxmeta.estimators.weights import trained
from jaxmeta.functional.bars import bar_moments, bar_quantile


class TabularRegressor(RegressorMixin, Tabular):
    """Real values of a table's rows, by a network that was trained on drawn tables.

    As `TabularClassifier`, but no network of this kind comes with the package yet: train
    one, `jaxmeta train tabular-pfn --target values`, and `pack` it. The
    network gives a distribution, as bars: `predict` is its mean, `predict_quantiles` says
    how sure it is.

    Args:
      members: how many; more where there are many columns.
      max_rows: that a member sees; None: what the network was made for.
      max_columns: likewise.
      categorical_features: numbers or names of columns that are categories though they
        hold numbers.
      weights: what `pack` wrote; None: the network of the package, once there is one.
      random_state: decides orders and subsets.

    Attributes:
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
        self._show(X, (y - self._centre) / self._scale, None, 1)
        return self

    def _given(self, member) -> np.ndarray:
        return self._targets[member.rows, None]

    def _bars(self, X: Any):
        borders = trained(self._name()).fitted.borders
        for _, logits, mean, std in self._answers(self._numbers(X), self._members):
            yield (
                jnp.asarray(logits, "float32"),
                jnp.asarray(borders, "float32"),
                lambda z, m=mean, s=std: self._centre + self._scale * (m + s * z),
            )

    def predict(self, X: Any) -> np.ndarray:
        """The mean of each row's distribution `[n]`."""
        found = [
            back(np.asarray(bar_moments(logits, borders)[0], float))
            for logits, borders, back in self._bars(X)
        ]
        return np.mean(found, 0)

    def predict_quantiles(self, X: Any, levels: Sequence[float]) -> np.ndarray:
        """Quantiles `[n, levels]`, averaged over members.

        Args:
          X: rows.
          levels: in (0, 1).
        """
        found = []
        for *bars, back in self._bars(X):
            each = [bar_quantile(bars[0], bars[1], q) for q in levels]
            found.append(np.stack([back(np.asarray(x, float)) for x in each], -1))
        return np.mean(found, 0)
