"""What is taken for what, alphabet by alphabet, from counts by hand."""

import numpy as np

from benchmarks.one_shot import by_group, table

NAMES = ("Elm/a", "Oak/a", "Oak/b", "Oak/c", "Ash/a")


def test_counts_of_alphabets():
    counts = np.zeros((5, 5))
    counts[0, 0] = 4
    counts[1] = [0, 3, 0, 1, 0]
    counts[2] = [0, 2, 2, 0, 0]
    counts[3, 3] = 4
    found = by_group(NAMES, counts)
    assert list(found) == ["Oak", "Elm"], (
        "the hardest first, and one that was not asked"
    )
    assert found["Oak"] == {
        "accuracy": 0.75,
        "queries": 12,
        "mistakes": ["b for a: 50%", "a for c: 25%"],
    }
    assert found["Elm"] == {"accuracy": 1.0, "queries": 4, "mistakes": []}
    lines = table({"alphabets": found}).splitlines()
    assert lines[2] == "| Oak | 25.0 % | 12 | b for a: 50%; a for c: 25% |"
