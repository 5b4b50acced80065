"""Members of an ensemble: the same network, shown the same table in several ways."""

from typing import NamedTuple

import numpy as np


class Member(NamedTuple):
    """How one member is shown the table.

    Attributes:
      rows: of the training set, by number.
      columns: which, in which order.
      groups: `[classes]`: the class of the network that stands for each; several share one
        where there are more classes than the network knows.
      ranked: whether columns are shown as normal scores of their ranks.
      components: whether it is shown principal components of all columns instead.
    """

    rows: np.ndarray
    columns: np.ndarray
    groups: np.ndarray
    ranked: bool
    components: bool


def members(
    rng: np.random.Generator,
    labels: np.ndarray | None,
    rows: int,
    columns: int,
    classes: int,
    *,
    count: int,
    most: dict[str, int],
) -> list[Member]:
    """What each member sees: permuted columns and classes, subsets where there are too many.

    More columns than the network should be given: every other member sees principal
    components of all, and the rest some of them each. More classes: each member tells
    random groups of them apart, as in error-correcting output codes, and there are enough
    members to tell all.

    Args:
      rng: decides.
      labels: `[rows]` class numbers, of which each member sees every one; or `None`.
      rows: of the training set.
      columns: of the table.
      classes: how many; 1 for real targets.
      count: the fewest members.
      most: "rows", "columns", "classes" that a member may be given.

    References:
      Dietterich, Bakiri 1995, Solving Multiclass Learning Problems via Error-Correcting
      Output Codes, arXiv:cs/9501105.
    """
    count = max(count, -(-columns // most["columns"]))
    if classes > most["classes"]:
        count = max(count, 4 * int(np.ceil(np.log2(classes))))
    found = []
    deck: list[int] = []
    for i in range(count):
        if len(deck) < min(columns, most["columns"]):
            deck += list(rng.permutation(columns))
        own = list(dict.fromkeys(deck))[: most["columns"]]
        for c in own:
            deck.remove(c)
        if columns == 1:  # twice: no table of the prior has fewer than two
            own = own + own
        if classes > most["classes"]:
            order = rng.permutation(classes)
            groups = np.empty(classes, int)
            groups[order] = np.arange(classes) % most["classes"]
        else:
            groups = rng.permutation(classes)
        chosen = _rows(rng, labels, rows, most["rows"])
        whole = columns > most["columns"] and i % 2 == 0
        found.append(Member(chosen, np.array(own), groups, bool(i % 2), whole))
    return found


def _rows(rng, labels, rows: int, most: int) -> np.ndarray:
    """A subset with an example of every class, in the order of the table."""
    if rows <= most:
        return np.arange(rows)
    order = rng.permutation(rows)
    if labels is not None:
        _, first = np.unique(labels[order], return_index=True)
        order = np.concatenate([order[first], np.delete(order, first)])
    return np.sort(order[:most])
