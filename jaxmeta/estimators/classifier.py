"""Classes of a table's rows, with scikit-learn's interface."""

from typing import Any

import numpy as np

from jaxmeta.estimators import library  # noqa: F401 (says how to get what follows)

from sklearn.base import ClassifierMixin  # isort: skip
from sklearn.utils.multiclass import check_classification_targets  # isort: skip

from jaxmeta.estimators.linear import STRENGTHS, Logistic
from jaxmeta.estimators.sharpness import SHARES, best_temperature, blended, tempered
from jaxmeta.estimators.tabular import Shown, Tabular
from jaxmeta.recipes.packed import trained


class TabularClassifier(ClassifierMixin, Tabular):
    """Classes of a table's rows, by a network that was trained on drawn tables.

    `fit` learns which columns are categories and keeps the table; `predict_proba` shows
    it to the network together with the rows that are asked about, in one pass. The network
    is not trained. A logistic regression of the same rows stands beside it,

        p = p_network^((1 - s) / T) p_logistic^(s / T) / sum of these,

    and rows that are held out choose how much it counts, s, and how sure to be, T. Text,
    booleans and pandas categories are categories; NaN is a missing cell.

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
      temperature: T, what log-probabilities are divided by: above 1 less sure, below more;
        None: chosen in `fit` by the rows of the table, each third of them asked of the
        other two (at most 1,000 rows of it), which takes three times what a prediction does.
      linear: s, the share of the logistic regression, from 0, the network alone, to 1;
        None: chosen as T is. Its penalty is chosen by the same rows.

    Attributes:
      classes_: the classes, sorted.
      temperature_: T.
      linear_: s.
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
        self._keep(X, labels)
        self._members = self._ensemble(np.arange(len(X)), labels, len(self.classes_))
        self.temperature_, self.linear_, strength = self._best(labels)
        self._logistic = None
        if self.linear_ > 0:
            kinds = self._columns.categorical
            self._logistic = Logistic(X, labels, kinds, (strength,))
        return self

    def _best(self, labels: np.ndarray) -> tuple[float, float, float]:
        """Temperature, share and penalty by rows that the network was not shown."""
        share, t, k = self.linear, self.temperature, len(self.classes_)
        asks, seen = None in (share, t), []
        for kept, held in self._thirds(labels) if asks or share else ():
            held = held[np.isin(labels[held], labels[kept])]
            if not len(held) or len(np.unique(labels[kept])) < 2:
                continue
            p = np.full((len(held), k), 1 / k)
            q = p[None]
            if asks:
                p = self._probabilities(self._x[held], self._ensemble(kept, labels, k))
            if share != 0:
                at = self._x[kept], labels[kept], self._columns.categorical
                q = Logistic(*at)(self._x[held], k)
            seen.append((p, q, held))
        if not seen:
            return 1.0 if t is None else t, share or 0.0, 1.0
        p, held = (np.concatenate([part[i] for part in seen]) for i in (0, 2))
        q = np.concatenate([part[1] for part in seen], 1)
        at = np.arange(len(held)), labels[held]
        best = int(np.argmax([np.log(np.maximum(each[at], 1e-9)).sum() for each in q]))
        strength, q = STRENGTHS[best], q[best]
        tried = []
        for s in SHARES if share is None else (share,):
            both = blended(p, q, s)

            def log_p(t: float, both=both) -> np.ndarray:
                return np.log(np.maximum(tempered(both, t)[at], 1e-30))

            tried.append((*best_temperature(log_p, t), s))
        t, _, s = min(tried, key=lambda found: found[1])
        return t, float(s), strength

    def _given(self, member) -> np.ndarray:
        # as wide as the network knows: one program, however many classes there are
        width = trained(self._name()).about["limits"]["classes"]
        return np.eye(width)[member.groups[self._targets[member.rows]]]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities `[n, classes]`, in the order of `classes_`."""
        numbers = self._numbers(X)
        p = self._probabilities(numbers, self._members)
        if self._logistic is not None:
            q = self._logistic(numbers, len(self.classes_))[0]
            p = blended(p, q, self.linear_)
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
