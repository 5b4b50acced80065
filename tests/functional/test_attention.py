"""Attention over labelled examples, against loops in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxmeta.functional.attention import attend, vote
from jaxmeta.functional.distances import cosine_distance, cosine_similarity, unit

pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(4, 6))
LABELS = np.array([0, 2, 1, 0, 2, 0])
TARGETS = np.eye(3)[LABELS]


def test_vote_is_the_sum_over_examples():
    expected = np.zeros((4, 3))
    for i in range(4):
        a = np.exp(SCORES[i]) / np.exp(SCORES[i]).sum()
        for j in range(6):
            expected[i, LABELS[j]] += a[j]
    np.testing.assert_allclose(vote(SCORES, TARGETS), np.log(expected), rtol=1e-12)


def test_vote_sums_to_one_and_keeps_logarithms_where_sums_underflow():
    log_p = vote(1e4 * SCORES, TARGETS)
    np.testing.assert_allclose(jnp.exp(log_p).sum(1), 1.0, rtol=1e-14)
    assert np.all(np.isfinite(log_p)) and log_p.min() < -1000
    slope = jax.grad(lambda s: vote(s, TARGETS)[0].min())(1e4 * SCORES)
    assert np.abs(slope).max() > 0.5


def test_vote_ignores_padding_and_absent_classes_are_impossible():
    padded = np.concatenate([TARGETS, np.full((2, 3), np.nan)])
    scores = np.concatenate([SCORES, np.full((4, 2), 50.0)], 1)
    weights = np.repeat([1.0, 0.0], [6, 2])
    cut = vote(SCORES, TARGETS)
    np.testing.assert_allclose(vote(scores, padded, weights), cut, rtol=1e-14)
    absent = vote(SCORES, np.pad(TARGETS, ((0, 0), (0, 1))))
    np.testing.assert_array_equal(jnp.exp(absent[:, 3]), 0.0)
    assert np.all(np.isfinite(0.0 * absent))


def test_soft_labels():
    soft = np.abs(RNG.normal(size=(6, 3)))
    soft /= soft.sum(1, keepdims=True)
    expected = np.log(jax.nn.softmax(SCORES) @ soft)
    np.testing.assert_allclose(vote(SCORES, soft), expected, rtol=1e-12)


def test_gradients():
    check_grads(jax.jit(lambda s: vote(s, TARGETS)), (SCORES,), 1)


def test_attend_reads_what_is_not_masked():
    values, mask = RNG.normal(size=(6, 5)), np.array([1, 0, 1, 1, 0, 1.0])
    kept = mask > 0
    expected = attend(SCORES[:, kept], values[kept])
    np.testing.assert_allclose(
        attend(SCORES, values, weights=mask), expected, rtol=1e-12
    )
    by_hand = np.exp(SCORES) @ values / np.exp(SCORES).sum(1, keepdims=True)
    np.testing.assert_allclose(attend(SCORES, values), by_hand, rtol=1e-12)
    np.testing.assert_array_equal(attend(SCORES, values, weights=np.zeros(6)), 0.0)


def test_cosine_of_a_zero_vector_and_its_slope():
    a = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(cosine_similarity(a, a), [[0, 0], [0, 1]], atol=1e-15)
    np.testing.assert_allclose(cosine_distance(a, a), [[1, 1], [1, 0]], atol=1e-15)
    assert np.all(np.isfinite(jax.grad(lambda x: unit(x).sum())(a)))
