"""Classes to learn from, to choose by and to test on: none in two of them."""

from itertools import combinations
from typing import NamedTuple

from jaxmeta.data.arrays import Dataset, same_kind, take_classes
from jaxmeta.data.errors import DataError

ENOUGH = 25
"""From so many classes on, a fifth of them is five: a test of five ways."""

RULE = (
    f"in alphabetical order, of {ENOUGH} classes or more three of five are trained on, one "
    "is chosen by and one is tested on; of fewer every other one is trained on and "
    "chosen by, the others are tested on"
)
"""The rule of `split_classes`, for messages."""


class Splits(NamedTuple):
    """Three data sets: to learn from, to choose by, to test on.

    No class of the test is in the others, and readers give three that have none in
    common (`make_splits` checks it); `split_classes`, of few classes, gives `train`
    twice.
    """

    train: Dataset
    val: Dataset
    test: Dataset


def make_splits(train: Dataset, val: Dataset, test: Dataset) -> Splits:
    """Puts three data sets together, after a check that no class is in two of them.

    Args:
      train: classes to learn from.
      val: classes to choose by.
      test: classes to report on.

    Returns:
      `Splits`.

    Raises:
      DataError: a class in two splits, or examples that differ in shape or type.

    Example:
      >>> import numpy as np
      >>> from jaxmeta.data import from_counts
      >>> one = [from_counts(np.arange(2), [2], (name,)) for name in "abc"]
      >>> make_splits(*one).test.names
      ('c',)
    """
    splits = Splits(train, val, test)
    for a, b in combinations(Splits._fields, 2):
        first, second = getattr(splits, a), getattr(splits, b)
        common = set(first.names) & set(second.names)
        if common:
            raise DataError(
                f"splits: got class {min(common)!r} in both {a} and {b} "
                f"({len(common)} in common), wants each class in one of them: few-shot "
                "learning is tested on classes that it was not trained on, not on new "
                "examples of the same"
            )
        same_kind(f"splits: {b}", first, second)
    return splits


def split_classes(data: Dataset) -> Splits:
    """Splits the classes of a data set by their names alone, the same way every time.

    In the order of the names, of 25 classes or more

        train, train, train, val, test, train, train, train, val, test, ...

    and of fewer

        train, test, train, test, ...       with val = train

    so that 10 classes are enough for five ways in training and in the test, where five
    splits of two classes would not be. Where val is train, a run is chosen by new tasks
    of classes that it has learned from: optimistic, but the test is of classes that it
    has never seen. The number of ways plays no part: a run that is tested again, with
    other ways, is not tested on what it was trained on.

    Args:
      data: a data set; put its classes in folders `train`, `val` and `test` and read
        them by `image_folder_splits` where the choice is to be yours.

    Returns:
      `Splits`.

    Raises:
      DataError: fewer than 4 classes.

    >>> import numpy as np
    >>> from jaxmeta.data import from_counts
    >>> letters = from_counts(np.arange(5), [1] * 5, tuple("abcde"))
    >>> [part.names for part in split_classes(letters)]
    [('a', 'c', 'e'), ('a', 'c', 'e'), ('b', 'd')]
    """
    names = sorted(data.names)
    if len(names) < 4:
        raise DataError(
            f"classes: got {len(names)}, wants 4 or more: two to learn from and two "
            "others to be tested on"
        )
    if len(names) < ENOUGH:
        train, test = (take_classes(data, names[i::2]) for i in (0, 1))
        return Splits(train, train, test)
    kind = [0, 0, 0, 1, 2]
    parts = [
        take_classes(data, [n for i, n in enumerate(names) if kind[i % 5] == part])
        for part in range(3)
    ]
    return make_splits(*parts)
