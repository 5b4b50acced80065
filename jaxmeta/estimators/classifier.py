"""Classes of a table's rows, with scikit-learn's interface."""

from typing import Any

import numpy as np

from jaxmeta.estimators import library  # noqa: F401 (says how to get what follows)

from sklearn.base import ClassifierMixin  # isort: skip
from sklearn.utils.multiclass import check_classification_targets  # isort: skip

from jaxmeta.estimators.sharpness import best_temperature, tempered
from jaxmeta.estimators.tabular import Shown, Tabular
from jaxmeta.recipes.packed import trained


class TabularClassifier(ClassifierMixin, Tabular):
    """Classes of a table's rows, by a network that was trained on drawn tables.

    `fit` learns which columns are categories and keeps the table; `predict_proba` shows
    it to the network together with the rows that are asked about, in one pass. Nothing is
    trained, and one number is chosen: how sure to be. Text, booleans and pandas categories
    are categories; NaN is a missing cell.

    Members of the ensemble see the columns and classes in other orders, and every other
    one the ranks of the values. What is more than the network is good for is sub-sampled
    and averaged: of more rows than `max_rows` each member sees a random part with an
    example of every class; of more columns than `max_columns` every other member sees
    some, and the rest the first principal components of all; of more than 10 classes each
    tells 10 random groups apart, and the probabilities of a class are put together from
    those of its groups (error-correcting output codes).

    Args:
      members: how many; more where there are many columns or classes.
      max_rows: that a member sees; None: what the network was made for.
      max_columns: likewise.
      categorical_features: numbers or names of columns that are categories though they
        hold numbers.
      weights: what `pack` wrote; None: the network of the package.
      random_state: decides orders and subsets.
      temperature: what log-probabilities are divided by: above 1 less sure, below more;
        None: chosen in `fit` by the rows of the table, each third of them asked of the
        other two, which takes three times what a prediction does.

    Attributes:
      classes_: the classes, sorted.
      temperature_: the temperature.
      n_features_in_: the number of columns.

    References:
      Hollmann et al. 2025, Accurate predictions on small data with a tabular foundation
      model, https://doi.org/10.1038/s41586-024-08328-6.
    """

    _usual = "classes"

    def fit(self, X: Any, y: Any) -> "TabularClassifier":
        """Keeps the table.

        Args:
          X: a DataFrame or an array `[n, f]`.
          y: `[n]` labels, of two classes or more.

        Raises:
          ValueError: for anything else.
        """
        X, y = self._checked(X, y, real=False)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y: got one class, {self.classes_.tolist()[0]!r}, wants two or more classes"
            )
        self._show(X, labels, labels, len(self.classes_))
        own = self.temperature
        self.temperature_ = self._best(labels) if own is None else own
        return self

    def _best(self, labels: np.ndarray) -> float:
        """The temperature by rows that the network was not shown."""
        seen = []
        for kept, held in self._thirds(labels):
            held = held[np.isin(labels[held], labels[kept])]
            if len(held) and len(np.unique(labels[kept])) > 1:
                ensemble = self._ensemble(kept, labels, len(self.classes_))
                seen.append((self._probabilities(self._x[held], ensemble), held))
        if not seen:
            return 1.0
        p, held = (np.concatenate(part) for part in zip(*seen, strict=True))
        rows = np.arange(len(held))
        return best_temperature(
            lambda t: np.log(np.maximum(tempered(p, t)[rows, labels[held]], 1e-30))
        )

    def _given(self, member) -> np.ndarray:
        # as wide as the network knows: one program, however many classes there are
        width = trained(self._name()).about["limits"]["classes"]
        return np.eye(width)[member.groups[self._targets[member.rows]]]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities `[n, classes]`, in the order of `classes_`."""
        p = self._probabilities(self._numbers(X), self._members)
        return tempered(p, self.temperature_)

    def _probabilities(self, X: np.ndarray, ensemble: list[Shown]) -> np.ndarray:
        """Of the ensemble, as the network gives them."""
        k = len(self.classes_)
        total, grouped = np.zeros((len(X), k)), False
        for member, logits, _, _ in self._answers(X, ensemble):
            logits = logits[:, : member.groups.max() + 1]
            p = np.exp(logits - logits.max(-1, keepdims=True))
            p = p / p.sum(-1, keepdims=True)
            grouped = p.shape[1] < k
            own = p[:, member.groups]
            total += np.log(own + 1e-9) if grouped else own
        if grouped:
            total = total / len(ensemble)
            total = np.exp(total - total.max(-1, keepdims=True))
        return total / total.sum(-1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row."""
        best = self.predict_proba(X).argmax(-1)
        return self.classes_[best]
