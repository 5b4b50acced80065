"""Ratings of items by users, and what is known of both: one table, and how it is split.

Lee et al. 2019, MeLU: Meta-Learned User Preference Estimator for Cold-Start
Recommendation, https://arxiv.org/abs/1908.00413: the four cells of `four_cells`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxmeta.checks import refusal
from jaxmeta.data.errors import DataError

CELLS = ("warm", "new_users", "new_items", "new_both")
"""What a question is about: users and items that training has seen, or has not."""

Column = tuple[np.ndarray, int]
"""Codes `[n]` below a number; or, where that is 0, numbers `[n, k]`."""


class Side(NamedTuple):
    """What is known of users, or of items: a row for each.

    Attributes:
      codes: int32 `[n, c]`: categories by number, each a column.
      sizes: how many categories each column has.
      numbers: float32 `[n, d]`.
      names: of the rows.
    """

    codes: np.ndarray
    sizes: tuple[int, ...]
    numbers: np.ndarray
    names: tuple[str, ...]


class Ratings(NamedTuple):
    """Who rated what, and how.

    Attributes:
      users: int32 `[n]`, rows of `user_side`.
      items: int32 `[n]`, rows of `item_side`.
      values: float32 `[n]`.
      user_side: what is known of users.
      item_side: what is known of items.
    """

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    user_side: Side
    item_side: Side


class Cell(NamedTuple):
    """Rows of the ratings that tasks are made of.

    Attributes:
      support: what a user may be learned from.
      query: what he may be asked; `None`: the same rows, of which a task draws both.
    """

    support: np.ndarray
    query: np.ndarray | None = None


class Cells(NamedTuple):
    """A split of ratings by user and by item.

    Attributes:
      data: all of them.
      train: ratings of known items by known users.
      val: name of a cell -> what chooses parameters.
      test: name of a cell -> what is reported.
      known_users: boolean, one a user: whether training sees him.
      known_items: likewise.
    """

    data: Ratings
    train: Cell
    val: dict[str, Cell]
    test: dict[str, Cell]
    known_users: np.ndarray
    known_items: np.ndarray

    @property
    def sizes(self) -> tuple[int, ...]:
        """Categories of each coded column of a task's inputs, see `tasks.ratings`."""
        user, item = self.data.user_side, self.data.item_side
        own = len(user.names) + 1, len(item.names) + 1  # 0: nobody training has seen
        return own[0], *user.sizes, own[1], *item.sizes


def category(values: Sequence[str]) -> Column:
    """One category a row, as text.

    >>> category(["b", "a", "b"])[0].tolist()
    [1, 0, 1]
    """
    kinds, codes = np.unique(np.asarray(values, str), return_inverse=True)
    return codes.astype(np.int32), len(kinds)


def several(values: Sequence[Sequence[str]]) -> Column:
    """Any number of categories a row, such as the genres of a film: a column of 0 or 1 each.

    >>> several([["Comedy"], ["Comedy", "War"], []])[0].tolist()
    [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    """
    kinds = sorted({kind for row in values for kind in row})
    return np.array([[k in row for k in kinds] for row in values], np.float32), 0


def number(values: Sequence[float]) -> Column:
    """A number a row, brought to mean 0 and standard deviation 1.

    >>> number([1, 3])[0].tolist()
    [[-1.0], [1.0]]
    """
    x = np.asarray(values, np.float64)
    if not np.isfinite(x).all():
        raise refusal("number", f"{(~np.isfinite(x)).sum()} holes", "finite numbers")
    x = (x - x.mean()) / (x.std() or 1)
    return x.astype(np.float32)[:, None], 0


def ratings(
    users: Sequence[str],
    items: Sequence[str],
    values: Sequence[float],
    *,
    user_rows: Sequence[str] | None = None,
    item_rows: Sequence[str] | None = None,
    user_columns: Mapping[str, Column] | None = None,
    item_columns: Mapping[str, Column] | None = None,
) -> Ratings:
    """A table of ratings of one's own: three columns, and what else is known.

    Args:
      users: who rated, a name for each rating.
      items: what was rated.
      values: how.
      user_rows: users in the order of `user_columns`; without columns, all there are.
      item_rows: likewise.
      user_columns: name -> `category`, `several` or `number`, a row for each user.
      item_columns: likewise.

    Returns:
      `Ratings`.

    Raises:
      DataError: columns of other lengths, a value that is no number, a user or an item
        of no row, a pair that is rated twice.

    >>> table = ratings(["ann", "bob"], ["tea", "tea"], [5, 2])
    >>> table.users.tolist(), table.items.tolist(), table.item_side.names
    ([0, 1], [0, 0], ('tea',))
    """
    got = {"users": len(users), "items": len(items), "values": len(values)}
    if len(set(got.values())) > 1 or not len(values):
        raise DataError(f"ratings: got {got}, wants as many of each, 1 or more")
    y = np.asarray(values, np.float32)
    if not np.isfinite(y).all():
        at = int(np.flatnonzero(~np.isfinite(y))[0])
        raise DataError(f"values: got {y[at]} at {at}, wants numbers")
    user_side, user = _side("user", users, user_rows, user_columns or {})
    item_side, item = _side("item", items, item_rows, item_columns or {})
    pairs, first = np.unique(
        user.astype(np.int64) * len(item_side.names) + item, return_index=True
    )
    if len(pairs) < len(y):
        at = int(np.setdiff1d(np.arange(len(y)), first)[0])
        raise DataError(
            f"ratings: got {users[at]!r} and {items[at]!r} twice, wants a pair once"
        )
    return Ratings(user, item, y, user_side, item_side)


def _side(kind, names, rows, columns) -> tuple[Side, np.ndarray]:
    if rows is None and columns:
        raise DataError(f"{kind}_rows: got None, wants the rows of {kind}_columns")
    rows = sorted(set(names)) if rows is None else list(rows)
    where = {name: i for i, name in enumerate(rows)}
    if len(where) < len(rows):
        raise DataError(f"{kind}_rows: got a {kind} twice, wants each once")
    unknown = next((name for name in names if name not in where), None)
    if unknown is not None:
        raise DataError(f"{kind} {unknown!r}: got no row, wants one in {kind}_rows")
    for name, (column, _) in columns.items():
        if len(column) != len(rows):
            raise DataError(
                f"{name}: got {len(column)} rows, wants {len(rows)}, one a {kind}"
            )
    n = len(rows)
    coded = [(c, size) for c, size in columns.values() if size]
    plain = [np.zeros((n, 0), np.float32)] + [c for c, s in columns.values() if not s]
    codes = np.stack([c for c, _ in coded], 1) if coded else np.zeros((n, 0))
    side = Side(
        codes.astype(np.int32),
        tuple(size for _, size in coded),
        np.concatenate(plain, 1),
        tuple(map(str, rows)),
    )
    return side, np.array([where[name] for name in names], np.int32)


def four_cells(
    data: Ratings,
    *,
    seed: int = 0,
    new: tuple[float, float] = (0.1, 0.2),
    held: tuple[float, float] = (0.1, 0.2),
) -> Cells:
    """Splits by user and by item: what training never sees is new.

                        known items             new items
        known users     warm (held-out ratings) new_items
        new users       new_users               new_both

    The support of every task is of known items: a new item is one that nobody has rated,
    the user at hand included. (Lee et al. draw support and query from the same cell; who
    rates a new film for them has made it a little less new.) Users, items and held-out
    ratings of validation are others than those of the test.

    Args:
      data: the table.
      seed: of the split.
      new: shares of users, and of items, that are new in validation and in the test.
      held: shares of the ratings of known items by known users that are held out.

    Returns:
      `Cells`.

    Raises:
      ValueError: shares that leave nothing to learn from.

    >>> table = ratings(list("aabb"), list("xyxy"), [1, 2, 3, 4])
    >>> len(four_cells(table, new=(0.0, 0.0), held=(0.0, 0.25)).train.support)
    3
    """
    for name, shares in (("new", new), ("held", held)):
        if min(shares) < 0 or not sum(shares) < 1:
            raise refusal(name, shares, "two shares >= 0 of sum below 1")
    random = np.random.default_rng(seed)
    user = _thrown(random, len(data.user_side.names), new)
    item = _thrown(random, len(data.item_side.names), new)
    rating = _thrown(random, len(data.values), held)
    u, i = user[data.users], item[data.items]
    learned = np.flatnonzero((u == 0) & (i == 0) & (rating == 0))

    def cells(part: int) -> dict[str, Cell]:
        fresh = np.flatnonzero((u == part) & (i == 0))
        held_out = np.flatnonzero((u == 0) & (i == 0) & (rating == part))
        return {
            "warm": Cell(learned, held_out),
            "new_users": Cell(fresh),
            "new_items": Cell(learned, np.flatnonzero((u == 0) & (i == part))),
            "new_both": Cell(fresh, np.flatnonzero((u == part) & (i == part))),
        }

    return Cells(data, Cell(learned), cells(1), cells(2), user == 0, item == 0)


def _thrown(random: np.random.Generator, n: int, shares) -> np.ndarray:
    """0, 1 or 2 for each of `n`: exact shares, in an order that is drawn."""
    kinds = np.zeros(n, np.int8)
    val, test = (round(share * n) for share in shares)
    kinds[:val], kinds[val : val + test] = 1, 2
    return random.permutation(kinds)
