"""Tables, with scikit-learn's interface: a network reads the table, nothing is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxmeta.estimators import library  # noqa: F401 (says how to get what follows)

from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin  # isort: skip
from sklearn.utils import check_random_state, check_X_y, check_array  # isort: skip
from sklearn.utils.multiclass import check_classification_targets  # isort: skip
from sklearn.utils.validation import check_is_fitted, validate_data  # isort: skip

from jaxmeta.estimators.columns import Columns, ranked
from jaxmeta.estimators.members import Member, members
from jaxmeta.estimators.reading import read
from jaxmeta.estimators.sharpness import FOLDS, best_temperature, folds, tempered
from jaxmeta.estimators.weights import trained
from jaxmeta.functional.bars import bar_moments, bar_quantile


class _Tabular(BaseEstimator):
    """What both have in common: reading a table, and an ensemble of ways to show it."""

    _usual: str
    """The network of the package."""

    def __init__(
        self,
        *,
        members: int = 4,
        max_rows: int | None = None,
        max_columns: int | None = None,
        categorical_features: Sequence[int | str] | None = None,
        weights: str | Path | None = None,
        random_state: Any = 0,
    ):
        self.members = members
        self.max_rows = max_rows
        self.max_columns = max_columns
        self.categorical_features = categorical_features
        self.weights = weights
        self.random_state = random_state

    def _name(self) -> str:
        return self._usual if self.weights is None else str(self.weights)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def _checked(self, X: Any, y: Any, *, real: bool) -> tuple[np.ndarray, np.ndarray]:
        """Learns the columns; gives numbers `[n, f]` and targets `[n]`."""
        validate_data(self, X, y, skip_check_array=True)
        X = _two_axes(X)
        self._columns = Columns(self.categorical_features or ()).fit(X)
        X = self._columns.transform(X)
        return check_X_y(
            X, y, dtype="float64", ensure_all_finite="allow-nan", y_numeric=real
        )

    def _numbers(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        shown = _two_axes(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        return check_array(
            self._columns.transform(shown),
            dtype="float64",
            ensure_all_finite="allow-nan",
        )

    def _show(self, X: np.ndarray, targets: np.ndarray, labels, classes: int) -> None:
        """Decides what each member sees."""
        if self.members < 1:
            raise ValueError(f"members: got {self.members}, wants an integer >= 1")
        most = dict(trained(self._name()).about["limits"])
        for name, given in (("rows", self.max_rows), ("columns", self.max_columns)):
            most[name] = most[name] if given is None else given
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self._rng = np.random.default_rng(seed)
        self._most, self._x, self._targets = most, X, targets
        self._members = self._ensemble(np.arange(len(X)), labels, classes)

    def _ensemble(self, kept: np.ndarray, labels, classes: int) -> list[Member]:
        """Members that see some rows of the table."""
        labels = None if labels is None else labels[kept]
        shape = len(kept), self._x.shape[1]
        made = members(
            self._rng, labels, *shape, classes, count=self.members, most=self._most
        )
        return [member._replace(rows=kept[member.rows]) for member in made]

    def _answers(self, X: np.ndarray, ensemble: list[Member]):
        """For each member `(member, logits, mean and std of the target)`."""
        kinds = self._columns.categorical
        for member in ensemble:
            seen, asked = self._x[member.rows], X
            if member.ranked:
                known = np.where(kinds, seen, ranked(seen, seen))
                asked = np.where(kinds, asked, ranked(asked, seen))
                seen = known
            own = member.columns
            targets = self._given(member)
            ask = read(self._name(), seen[:, own], kinds[own], targets)
            yield member, *ask(asked[:, own])


class TabularClassifier(ClassifierMixin, _Tabular):
    """Classes of a table's rows, by a network that was trained on drawn tables.

    `fit` learns which columns are categories and keeps the table; `predict_proba` shows
    it to the network together with the rows that are asked about, in one pass. Nothing is
    trained, and one number is chosen: how sure to be. Text, booleans and pandas categories
    are categories; NaN is a missing cell.

    Members of the ensemble see the columns and classes in other orders, and every other
    one the ranks of the values. What is more than the network is good for is sub-sampled
    and averaged: of more rows than `max_rows` each member sees a random part with an
    example of every class; of more columns than `max_columns` each sees some; of more
    than 10 classes each tells 10 random groups apart, and the probabilities of a class
    are put together from those of its groups (error-correcting output codes).

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

    def __init__(
        self,
        *,
        members: int = 4,
        max_rows: int | None = None,
        max_columns: int | None = None,
        categorical_features: Sequence[int | str] | None = None,
        weights: str | Path | None = None,
        random_state: Any = 0,
        temperature: float | None = None,
    ):
        super().__init__(
            members=members,
            max_rows=max_rows,
            max_columns=max_columns,
            categorical_features=categorical_features,
            weights=weights,
            random_state=random_state,
        )
        self.temperature = temperature

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
        if self.temperature is not None and not 0 < self.temperature < np.inf:
            raise ValueError(
                f"temperature: got {self.temperature}, wants a finite number > 0"
            )
        self._show(X, labels, labels, len(self.classes_))
        own = self.temperature
        self.temperature_ = self._best(labels) if own is None else own
        return self

    def _best(self, labels: np.ndarray) -> float:
        """The temperature by rows that the network was not shown."""
        fold, seen = folds(self._rng, labels), []
        for i in range(FOLDS):
            kept, held = np.flatnonzero(fold != i), np.flatnonzero(fold == i)
            held = held[np.isin(labels[held], labels[kept])]
            if len(held) and len(np.unique(labels[kept])) > 1:
                ensemble = self._ensemble(kept, labels, len(self.classes_))
                seen.append((self._probabilities(self._x[held], ensemble), held))
        if not seen:
            return 1.0
        p, held = (np.concatenate(part) for part in zip(*seen, strict=True))
        return best_temperature(p, labels[held])

    def _given(self, member) -> np.ndarray:
        # as wide as the network knows: one program, however many classes there are
        width = trained(self._name()).about["limits"]["classes"]
        return np.eye(width)[member.groups[self._targets[member.rows]]]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities `[n, classes]`, in the order of `classes_`."""
        p = self._probabilities(self._numbers(X), self._members)
        return tempered(p, self.temperature_)

    def _probabilities(self, X: np.ndarray, ensemble: list[Member]) -> np.ndarray:
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


class TabularRegressor(RegressorMixin, _Tabular):
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
                logits.astype("float32"),
                np.asarray(borders, "float32"),
                lambda z, m=mean, s=std: self._centre + self._scale * (m + s * z),
            )

    def predict(self, X: Any) -> np.ndarray:
        """The mean of each row's distribution `[n]`."""
        found = [
            back(np.asarray(bar_moments(*bars)[0], float))
            for *bars, back in self._bars(X)
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
            each = [back(np.asarray(bar_quantile(*bars, q), float)) for q in levels]
            found.append(np.stack(each, -1))
        return np.mean(found, 0)


def _two_axes(X: Any) -> Any:
    """A DataFrame as it is; of arrays and lists numbers, or objects that may be text."""
    if hasattr(X, "iloc"):
        return X
    mixed = getattr(getattr(X, "dtype", None), "kind", "f") in "OUSb"
    kind = "object" if mixed else "float64"
    return check_array(X, dtype=kind, ensure_all_finite="allow-nan")
