"""Tables, with scikit-learn's interface: a network reads the table, nothing is trained."""

import numbers
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxmeta.estimators import library  # noqa: F401 (says how to get what follows)

from sklearn.base import BaseEstimator  # isort: skip
from sklearn.utils import check_random_state, check_X_y, check_array  # isort: skip
from sklearn.utils.validation import check_is_fitted, validate_data  # isort: skip

from jaxmeta.estimators.columns import Columns
from jaxmeta.estimators.members import Member, members
from jaxmeta.estimators.reading import Reader
from jaxmeta.estimators.sharpness import FOLDS, folds
from jaxmeta.estimators.views import View
from jaxmeta.recipes.packed import trained


class Shown(NamedTuple):
    """A member that has been given its part of the table.

    Attributes:
      member: what it sees.
      view: rows as it sees them.
      ask: answers queries.
    """

    member: Member
    view: View
    ask: Reader


ASKED = 1000
"""Rows of a third that are asked about, at most: they choose two or three numbers."""
MISSING: dict[str, Any] = {"ensure_all_finite": "allow-nan"}
"""For scikit-learn, whose signatures say nothing of their types."""


class Tabular(BaseEstimator):
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
        temperature: float | None = None,
        linear: float | None = None,
    ):
        self.members = members
        self.max_rows = max_rows
        self.max_columns = max_columns
        self.categorical_features = categorical_features
        self.weights = weights
        self.random_state = random_state
        self.temperature = temperature
        self.linear = linear

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
        return check_X_y(X, y, dtype="float64", y_numeric=real, **MISSING)

    def _numbers(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        shown = _two_axes(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        return check_array(self._columns.transform(shown), dtype="float64", **MISSING)

    def _keep(self, X: np.ndarray, targets: np.ndarray) -> None:
        """Checks the options and keeps the table."""
        for name in ("members", "max_rows", "max_columns"):
            given = getattr(self, name)
            if given is None and name != "members":
                continue
            if not isinstance(given, numbers.Integral) or given < 1:
                raise ValueError(f"{name}: got {given!r}, wants an integer >= 1")
        t, share = self.temperature, self.linear
        if t is not None and not (_is_number(t) and 0 < t < np.inf):
            raise ValueError(f"temperature: got {t!r}, wants a finite number > 0")
        if share is not None and not (_is_number(share) and 0 <= share <= 1):
            raise ValueError(f"linear: got {share!r}, wants a number from 0 to 1")
        most = dict(trained(self._name()).about["limits"])
        for name, given in (("rows", self.max_rows), ("columns", self.max_columns)):
            most[name] = most[name] if given is None else given
        seed = check_random_state(self.random_state).randint(2**31 - 1)
        self._rng = np.random.default_rng(seed)
        self._most, self._x, self._targets = most, X, targets

    def _given(self, member: Member) -> np.ndarray:
        """The targets of the rows that a member sees, as its network takes them."""
        raise NotImplementedError

    def _thirds(self, labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows to show and rows to ask about, none of which comes twice."""
        fold = folds(self._rng, labels)
        for i in range(FOLDS):
            held = np.flatnonzero(fold == i)
            if len(held) > ASKED:
                held = np.sort(self._rng.choice(held, ASKED, replace=False))
            yield np.flatnonzero(fold != i), held

    def _ensemble(self, kept: np.ndarray, labels, classes: int) -> list[Shown]:
        """Members that see some rows of the table."""
        labels = None if labels is None else labels[kept]
        shape = len(kept), self._x.shape[1]
        made = members(
            self._rng, labels, *shape, classes, count=self.members, most=self._most
        )
        return [self._shown(m._replace(rows=kept[m.rows])) for m in made]

    def _shown(self, member: Member) -> Shown:
        known = self._x[member.rows]
        kinds = self._columns.categorical
        view = View(known, kinds, member, self._most["columns"])
        # a part of the rows, held out for a while, has the program of all of them
        room = min(len(self._x), self._most["rows"])
        given = view(known), view.categorical, self._given(member), room
        return Shown(member, view, Reader(self._name(), *given))

    def _answers(self, X: np.ndarray, ensemble: list[Shown]):
        """For each member `(member, logits, mean and std of the target)`."""
        for member, view, ask in ensemble:
            yield member, *ask(view(X))


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def _two_axes(X: Any) -> Any:
    """A DataFrame as it is; of arrays and lists numbers, or objects that may be text."""
    if hasattr(X, "iloc"):
        return X
    mixed = getattr(getattr(X, "dtype", None), "kind", "f") in "OUSb"
    kind = "object" if mixed else "float64"
    return check_array(X, dtype=kind, **MISSING)
