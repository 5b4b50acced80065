"""Data sets as arrays, grouped by class: what a reader returns and a task samples."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from jaxmeta.data.errors import DataError


class Dataset(NamedTuple):
    """Examples sorted by class: class `c` is the rows `starts[c] + range(counts[c])`.

    Attributes:
      inputs: `[n, ...]`; images are uint8 `[n, height, width, channels]`, which every
        task makes float32 in [0, 1] (`unit_range`). Other numbers are taken as they
        are: integers may be tokens, and whether floats of 0 to 255 are pixels nobody
        can know but their owner.
      starts: int32 `[C]`.
      counts: int32 `[C]`.
      names: the names of the `C` classes.
    """

    inputs: np.ndarray
    starts: np.ndarray
    counts: np.ndarray
    names: tuple[str, ...]


def unit_range(x):
    """uint8 as float32 in [0, 1]; anything else as it is.

        x / 255

    The one place where a byte becomes a number: every builder of tasks and of examples
    calls it, so that one data set has one scale.

    Args:
      x: an array of NumPy or JAX.

    Returns:
      An array of the same kind.

    >>> unit_range(np.array([0, 51, 255], np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    >>> unit_range(np.array([0, 51, 255])).tolist()
    [0, 51, 255]
    """
    return x.astype("float32") / 255 if x.dtype == np.uint8 else x


def from_classes(classes: Mapping[str, npt.ArrayLike]) -> Dataset:
    """Makes a data set of one array a class, in the order of the mapping.

    Args:
      classes: class name -> examples `[n_c, ...]`.

    Returns:
      A `Dataset`.

    Raises:
      DataError: no class, an empty class, or examples whose shapes or types differ.

    Example:
      >>> data = from_classes({"a": np.zeros((3, 2)), "b": np.ones((1, 2))})
      >>> data.inputs.shape, data.counts.tolist(), data.names
      ((4, 2), [3, 1], ('a', 'b'))
    """
    arrays = {name: np.asarray(value) for name, value in classes.items()}
    if not arrays:
        raise DataError("classes: got none, wants at least one class")
    first_name, first = next(iter(arrays.items()))
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) == 0:
            raise DataError(f"class {name!r}: got no examples, wants at least 1")
        if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
            raise DataError(
                f"class {name!r}: got examples {array.dtype}{list(array.shape[1:])}, "
                f"wants {first.dtype}{list(first.shape[1:])} as in class {first_name!r}"
            )
    counts = [len(array) for array in arrays.values()]
    return from_counts(np.concatenate(list(arrays.values())), counts, tuple(arrays))


def from_labels(
    inputs: npt.ArrayLike, labels: npt.ArrayLike, names: Sequence[str] | None = None
) -> Dataset:
    """Makes a data set of examples with integer labels; their order in a class is kept.

    Args:
      inputs: examples `[n, ...]`.
      labels: integers `[n]`, from any number on. Labels that no example has are no
        classes; a negative one is a class as any other, so examples that have no label
        are to be left out first.
      names: `names[label]` is the name of a class; by default the label in digits.

    Returns:
      A `Dataset` with its classes in the order of their labels.

    Raises:
      DataError: labels that are not `n` integers, or that `names` does not cover.

    Example:
      >>> data = from_labels(np.array([10, 11, 12]), [1, 0, 1], names=["cat", "dog"])
      >>> data.inputs.tolist(), data.starts.tolist(), data.names
      ([11, 10, 12], [0, 1], ('cat', 'dog'))
    """
    inputs = np.asarray(inputs)
    if inputs.ndim == 0:
        raise DataError("inputs: got a single number, wants examples [n, ...]")
    labels = check_labels(labels, len(inputs))
    values, counts = np.unique(labels, return_counts=True)
    if names is None:
        chosen = tuple(str(value) for value in values)
    elif len(values) and (values[0] < 0 or values[-1] >= len(names)):
        raise DataError(
            f"labels: got {values[0]} to {values[-1]}, "
            f"wants 0 to {len(names) - 1}, one of the {len(names)} names"
        )
    else:
        chosen = tuple(names[int(value)] for value in values)
    return from_counts(inputs[np.argsort(labels, kind="stable")], counts, chosen)


def check_labels(labels: npt.ArrayLike, examples: int) -> np.ndarray:
    """The labels as an array; raises `DataError` unless each example has an integer.

    >>> check_labels([0.0, float("nan")], 2)
    Traceback (most recent call last):
    jaxmeta.data.errors.DataError: labels: got float64[2], wants integers [2], one for \
each example
    """
    labels = np.asarray(labels)
    if labels.shape != (examples,) or labels.dtype.kind not in "iu":
        hint = ""
        if labels.dtype.kind in "OSU":
            hint = ": np.unique(labels, return_inverse=True) has names and integers"
        raise DataError(
            f"labels: got {labels.dtype}{list(labels.shape)}, "
            f"wants integers [{examples}], one for each example{hint}"
        )
    return labels


def from_counts(
    inputs: np.ndarray, counts: npt.ArrayLike, names: Sequence[str]
) -> Dataset:
    """Makes a data set of examples that are already sorted by class.

    Args:
      inputs: examples `[n, ...]`, sorted by class.
      counts: how many of them each class has, `[C]`.
      names: the names of the classes; what is no text is written as text.

    Returns:
      A `Dataset`.

    Raises:
      DataError: no class, a name twice, counts that do not add up to `n`, or examples
        that are no numbers.

    Example:
      >>> from_counts(np.arange(5), [3, 2], ("a", "b")).starts.tolist()
      [0, 3]
    """
    names = tuple(map(str, names))
    if inputs.dtype.kind in "OSUMm":
        raise DataError(
            f"inputs: got an array of {inputs.dtype}, wants numbers, all examples of "
            "one shape"
        )
    if np.asarray(counts).dtype.kind not in "iu":
        raise DataError(f"counts: got {np.asarray(counts).dtype}, wants integers")
    counts = np.asarray(counts, np.int32)
    if not len(names):
        raise DataError("inputs: got no examples, wants at least 1")
    if counts.shape != (len(names),):
        raise DataError(
            f"counts: got {list(counts.shape)} for {len(names)} names, wants one a class"
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"names: got {twice!r} twice, wants each class once")
    if counts.sum() != len(inputs) or counts.min() < 0:
        raise DataError(
            f"counts: got a sum of {counts.sum()}, wants {len(inputs)} examples"
        )
    starts = np.cumsum(counts, dtype=np.int32) - counts
    return Dataset(inputs, starts, counts, names)


def take_classes(data: Dataset, names: Sequence[str]) -> Dataset:
    """Keeps the named classes, in the order of `names`.

    Args:
      data: a data set.
      names: names of some of its classes.

    Returns:
      A `Dataset` with a copy of their examples.

    Raises:
      DataError: a name that is no class of `data`.

    Example:
      >>> data = from_counts(np.arange(5), [3, 2], ("a", "b"))
      >>> take_classes(data, ["b"]).inputs.tolist()
      [3, 4]
    """
    index = {name: c for c, name in enumerate(data.names)}
    names = tuple(map(str, names))
    for name in names:
        if name not in index:
            raise DataError(
                f"names: got {name!r}, wants some of the {len(index)} classes"
            )
    chosen = [index[name] for name in names]
    rows = [np.arange(data.starts[c], data.starts[c] + data.counts[c]) for c in chosen]
    inputs = data.inputs[np.concatenate(rows)] if rows else data.inputs[:0]
    return from_counts(inputs, data.counts[chosen], tuple(names))


def merge(*parts: Dataset) -> Dataset:
    """Joins data sets that have no class in common, such as `train` and `val`.

    Args:
      *parts: data sets with examples of one shape and type.

    Returns:
      A `Dataset` with the classes of all of them.

    Raises:
      DataError: a class name in two parts, or examples that differ in shape or type.

    Example:
      >>> cats = from_counts(np.arange(3), [3], ("cat",))
      >>> dogs = from_counts(np.arange(2), [2], ("dog",))
      >>> merge(cats, dogs).names
      ('cat', 'dog')
    """
    for part in parts[1:]:
        same_kind("merge", parts[0], part)
    return from_counts(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate([part.counts for part in parts]),
        tuple(name for part in parts for name in part.names),
    )


def same_kind(what: str, first: Dataset, second: Dataset) -> None:
    """Refuses two data sets whose examples cannot lie in one array."""
    a, b = first.inputs, second.inputs
    if a.shape[1:] != b.shape[1:] or a.dtype != b.dtype:
        raise DataError(
            f"{what}: got examples {b.dtype}{list(b.shape[1:])}, "
            f"wants {a.dtype}{list(a.shape[1:])}"
        )
