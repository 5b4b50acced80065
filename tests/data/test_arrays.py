"""Grouping by class keeps every example, in order, under its own name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxmeta.data import (
    DataError,
    from_classes,
    from_counts,
    from_labels,
    make_splits,
    merge,
    take_classes,
)


def rows(data, name):
    c = data.names.index(name)
    return data.inputs[data.starts[c] : data.starts[c] + data.counts[c]].tolist()


@settings(max_examples=50, deadline=None)
@given(labels=st.lists(st.integers(-3, 9), min_size=1, max_size=40))
def test_labels_are_grouped_in_order(labels):
    data = from_labels(np.arange(len(labels)), labels)
    assert data.starts.dtype == data.counts.dtype == np.int32
    for label in set(labels):
        want = [i for i, other in enumerate(labels) if other == label]
        assert rows(data, str(label)) == want
    assert data.counts.sum() == len(labels)


def test_taking_and_merging_classes():
    data = from_classes({"a": [1, 2], "b": [3], "c": [4, 5, 6]})
    back = merge(take_classes(data, ["c"]), take_classes(data, ["b", "a"]))
    assert back.names == ("c", "b", "a")
    assert all(rows(back, name) == rows(data, name) for name in "abc")


def one(name, value=0):
    return from_counts(np.array([value]), [1], (name,))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_classes({}), "classes: got none"),
        (lambda: from_classes({"a": []}), "class 'a': got no examples"),
        (
            lambda: from_classes({"a": [[1, 2]], "b": [[1]]}),
            r"class 'b': got examples int64\[1\], wants int64\[2\] as in class 'a'",
        ),
        (
            lambda: from_labels([1, 2], [0]),
            r"labels: got int64\[1\], wants integers \[2\]",
        ),
        (lambda: from_labels([1], [0.5]), "labels: got float64"),
        (
            lambda: from_labels([1], [float("nan")]),
            r"labels: got float64\[1\], wants int",
        ),
        (lambda: from_labels([1], [True]), "labels: got bool"),
        (lambda: from_labels([1], ["cat"]), "return_inverse=True"),
        (lambda: from_labels(3, [1]), "inputs: got a single number"),
        (
            lambda: from_labels([1, 2], [0, -1], ["a", "b"]),
            "labels: got -1 to 0, wants 0",
        ),
        (lambda: from_labels([1, 2], [0, 1], ["a", "a"]), "names: got 'a' twice"),
        (
            lambda: from_labels(["x", "y"], [0, 1]),
            "inputs: got an array of <U1, wants n",
        ),
        (
            lambda: from_classes({"a": [object()], "b": [object()]}),
            "inputs: got an array of object, wants numbers, all examples of one shape",
        ),
        (
            lambda: from_counts(np.zeros(3), [1.5, 1.5], "ab"),
            "counts: got float64, wants",
        ),
        (lambda: from_counts(np.zeros(2), [1, 1], (1, "1")), "names: got '1' twice"),
        (lambda: from_labels([1], [2], ["a"]), "labels: got 2 to 2, wants 0 to 0"),
        (
            lambda: from_counts(np.zeros(3), [1], ("a",)),
            "counts: got a sum of 1, wants 3",
        ),
        (lambda: from_counts(np.zeros(2), [1, 1], ("a", "a")), "names: got 'a' twice"),
        (
            lambda: take_classes(one("a"), ["b"]),
            "names: got 'b', wants some of the 1 classes",
        ),
        (lambda: merge(one("a"), one("a")), "names: got 'a' twice"),
        (
            lambda: make_splits(one("a"), one("b"), one("a")),
            r"splits: got class 'a' in both train and test \(1 in common\)",
        ),
        (
            lambda: make_splits(one("a"), one("b", 0.5), one("c")),
            r"splits: val: got examples float64\[\], wants int64\[\]",
        ),
    ],
)
def test_errors_are_one_line_that_names_the_culprit(make, message):
    with pytest.raises(DataError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_names_are_text_and_labels_start_anywhere():
    data = from_labels(np.arange(4), np.array([7, 300, 7, 9], np.int64))
    assert data.names == ("7", "9", "300")
    data = from_classes({0: [1], 1: [2]})
    assert data.names == ("0", "1") and take_classes(data, [1]).names == ("1",)
    assert from_counts(np.zeros(2), [1, 1], ["a", "b"]).names == ("a", "b")
