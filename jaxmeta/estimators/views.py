"""What a member of an ensemble is shown of the rows of a table."""

import numpy as np

from jaxmeta.estimators.columns import ranked, standards
from jaxmeta.estimators.members import Member


class View:
    """Rows as a member sees them: some columns, as values or ranks, or all as components.

    With components, columns of numbers are standardised and turned into the directions
    that they vary in most,

        t = (x - m) / s V_k,    (X - m) / s = U S V^T,

    beside those columns of categories that there is room for. A missing cell counts as
    the mean.

    Args:
      known: `[n, f]`, the rows of the member as they stand in the table.
      categorical: boolean `[f]`.
      member: decides.
      most: columns that are seen at most.
    """

    def __init__(
        self, known: np.ndarray, categorical: np.ndarray, member: Member, most: int
    ):
        self._known, self._member, self._kinds = known, member, categorical
        self._turn: np.ndarray | None = None
        self._columns = member.columns
        self.categorical = categorical[member.columns]
        numbers = np.flatnonzero(~categorical)
        if not member.components or len(numbers) < 2:
            return
        self._columns = self._columns[self.categorical][: most // 2]
        self._mean, spread = standards(known[:, numbers])
        self._std = np.where(spread > 1e-9 * np.abs(self._mean), spread, np.inf)
        turns = np.linalg.svd(self._standard(known), full_matrices=False)[2]
        self._turn = turns[: most - len(self._columns)].T
        kinds = np.zeros(self._turn.shape[1], bool)
        self.categorical = np.concatenate([kinds, categorical[self._columns]])

    def _standard(self, x: np.ndarray) -> np.ndarray:
        z = (x[:, ~self._kinds] - self._mean) / self._std
        return np.where(np.isnan(z), 0, z)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Rows `[m, f]` as `[m, k]`."""
        if self._turn is not None:
            turned = self._standard(x) @ self._turn
            return np.concatenate([turned, x[:, self._columns]], 1)
        if self._member.ranked:
            x = np.where(self._kinds, x, ranked(x, self._known))
        return x[:, self._columns]
