"""The rivals of the speech benchmark, against what they are written another way."""

import numpy as np
import pytest

from benchmarks import speech

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0.3, 1, (6, 3, 10)).astype(np.float32)
for i, end in enumerate((10, 9, 7, 10, 8, 6)):
    IMAGES[i, :, end:] = 0  # silence at the end
LABELS = np.repeat([0, 1], 3)
# two episodes of two ways and one shot, in either order of the classes
EPISODE = np.array([[0, 3], [4, 1]]), np.array([[1, 2, 4, 5], [3, 5, 0, 2]])


def slow_warping(a, b):
    """By a table and a loop."""
    table = np.full((len(a) + 1, len(b) + 1), np.inf)
    table[0, 0] = 0
    for i, x in enumerate(a, 1):
        for j, y in enumerate(b, 1):
            before = min(table[i - 1, j], table[i, j - 1], table[i - 1, j - 1])
            table[i, j] = np.linalg.norm(x - y) + before
    return table[-1, -1] / (len(a) + len(b))


@pytest.mark.parametrize("kind", ["levels", "centred"])
def test_warping_is_that_of_a_table(kind):
    cut = [x[:, : (x.max(0) > 0).sum()] for x in IMAGES]
    if kind == "centred":
        cut = [x - x.mean(1, keepdims=True) for x in cut]
    wanted = [[slow_warping(a.T, b.T) for b in cut] for a in cut]
    found = speech.warping(IMAGES, kind, chunk=4)
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_the_nearest_and_prototypes_of_one_shot_are_the_same():
    u = speech.features(IMAGES, "frames")
    d = speech.distances(u, "euclid")
    near = speech.nearest(d, LABELS, EPISODE, 2)
    np.testing.assert_array_equal(near, speech.prototypes(u, LABELS, EPISODE, 2))
    right = [
        np.mean([LABELS[s[np.argmin(d[q, s])]] == LABELS[q] for q in query])
        for s, query in zip(*EPISODE, strict=True)
    ]
    np.testing.assert_allclose(near, right)


def test_the_linear_head_is_ridge_regression():
    u = speech.features(IMAGES, "moments").astype(np.float64)
    found = speech.ridge(u, LABELS, EPISODE, 2, 0.5)
    right = []
    for s, query in zip(*EPISODE, strict=True):
        centre = u[s].mean(0)
        x = u[s] - centre
        lam = 0.5 * np.trace(x @ x.T) / len(s)
        targets = np.eye(2) - 0.5
        weights = np.linalg.solve(x.T @ x + lam * np.eye(x.shape[1]), x.T @ targets)
        said = ((u[query] - centre) @ weights).argmax(1)
        right.append(np.mean(said == [0, 0, 1, 1]))
    np.testing.assert_allclose(found, right)
