"""Weights and model selection: they say what their equations say, and help."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxmeta import losses
from jaxmeta.core import Batch
from jaxmeta.transfer import importance, selection

pytestmark = pytest.mark.usefixtures("x64")
RANDOM = np.random.default_rng(0)


def test_classifier_ratio_is_the_density_ratio():
    """Two Gaussians of one width: the log-ratio is linear, the family is right."""
    n, m = 4000, 1000
    x_s, x_t = RANDOM.normal(0, 1, (n, 1)), RANDOM.normal(1, 1, (m, 1))
    at = np.linspace(-1, 2, 7)[:, None]
    true = np.exp(scipy.stats.norm.logpdf(at, 1) - scipy.stats.norm.logpdf(at, 0))[:, 0]
    ours = importance.classifier_ratio(x_s, x_t, l2=1e-6)(at)
    # n_s != n_t: without the factor n_s / n_t it would be 4 times too small
    np.testing.assert_allclose(ours, true, rtol=0.2)


def test_weighted_targets_are_a_weighted_risk():
    outputs = RANDOM.normal(size=(5, 3))
    y = np.eye(3)[RANDOM.integers(0, 3, 5)]
    w = RANDOM.uniform(0.1, 3.0, 5)
    batch = importance.weighted(
        Batch(jnp.zeros((5, 1)), jnp.asarray(y)), jnp.asarray(w)
    )
    each = -np.sum(y * jax.nn.log_softmax(outputs), -1)
    ours = losses.cross_entropy(jnp.asarray(outputs), batch.targets, batch.weights)
    np.testing.assert_allclose(ours, np.sum(w * each) / np.sum(w), rtol=1e-12)
    np.testing.assert_allclose(batch.weights.sum(), 5.0)
    # on top of the weights that a batch has: padding stays out, whatever its ratio
    padded = batch._replace(weights=jnp.array([1, 1, 0, 2, 0.0]))
    again = importance.weighted(padded, jnp.asarray(w).at[2].set(jnp.nan)).weights
    want = np.array([w[0], w[1], 0, 2 * w[3], 0])
    np.testing.assert_allclose(again, want * 4 / want.sum(), rtol=1e-12)
    with pytest.raises(ValueError, match="weights: got shape"):
        importance.weighted(batch, jnp.ones(4))


def test_effective_sample_size():
    assert importance.effective_sample_size(jnp.ones(7)) == 7
    assert importance.effective_sample_size(jnp.zeros(7).at[2].set(5.0)) == 1


def test_tame():
    w = jnp.array([1.0, 4.0, 16.0])
    np.testing.assert_allclose(importance.tame(w, power=0.0), jnp.ones(3))
    np.testing.assert_allclose(importance.tame(w), w / 7)
    np.testing.assert_allclose(
        importance.tame(w, power=0.5), jnp.array([1, 2, 4]) * 3 / 7
    )
    assert importance.tame(w, most=1.5).max() == 1.5
    sizes = [
        importance.effective_sample_size(importance.tame(w, power=p))
        for p in (1, 0.5, 0)
    ]
    assert sizes[0] < sizes[1] < sizes[2]
    for bad in (dict(power=2.0), dict(most=0.0)):
        with pytest.raises(ValueError, match="wants a"):
            importance.tame(w, **bad)


def test_weighted_validation_estimates_the_targets_risk():
    """Over many draws its mean is the target's risk; the source's risk is another."""
    x = RANDOM.normal(0, 1, (400, 500))
    w = np.exp(x - 0.5)  # N(1, 1) over N(0, 1)
    outputs = np.stack([np.zeros_like(x), -x], -1)
    y = (x > 1).astype(int)

    def risks(outputs, targets, w):
        return (
            -selection.source_risk(outputs, targets),
            -selection.importance_weighted_risk(outputs, targets, w, control=False),
            -selection.importance_weighted_risk(outputs, targets, w),
        )

    found = np.asarray(jax.vmap(risks)(outputs, np.eye(2)[y], w))
    t = RANDOM.normal(1, 1, 200_000)
    nll = np.logaddexp(0, -t) + (t > 1) * t
    means, spread = found.mean(1), found.std(1)
    error = 5 * spread / np.sqrt(400) + 5 * nll.std() / np.sqrt(len(t))
    assert abs(means[1] - nll.mean()) < error[1]
    assert abs(means[2] - nll.mean()) < error[2] + 0.02  # biased by O(1/n)
    assert abs(means[0] - nll.mean()) > 0.1
    assert spread[2] < spread[1]  # what the control variate is for


def test_information_wants_certainty_and_balance():
    sure = 30 * jnp.eye(2)[jnp.array([0, 1, 0, 1])]
    same = 30 * jnp.eye(2)[jnp.array([0, 0, 0, 0])]
    unsure = jnp.zeros((4, 2))
    np.testing.assert_allclose(selection.information(sure), np.log(2), rtol=1e-9)
    for other in (same, unsure):
        assert abs(selection.information(other)) < 1e-9
    assert selection.certainty(same) > -1e-9
    np.testing.assert_allclose(selection.certainty(unsure), -np.log(2))


def test_neighbourhood_density_is_its_definition():
    f = RANDOM.normal(size=(5, 3))
    unit = f / np.linalg.norm(f, axis=1, keepdims=True)
    total = 0.0
    for i in range(5):
        s = np.array([unit[i] @ unit[j] for j in range(5) if j != i]) / 0.05
        total += scipy.stats.entropy(scipy.special.softmax(s))
    ours = selection.neighbourhood_density(jnp.asarray(f))
    np.testing.assert_allclose(ours, total / 5, rtol=1e-10)


def test_the_report_says_which_criterion_chose():
    x, y = RANDOM.normal(size=(8, 2)), np.eye(2)[RANDOM.integers(0, 2, 8)]
    held_out = Batch(jnp.asarray(x), jnp.asarray(y))
    logits = [jnp.asarray(s * RANDOM.normal(size=(8, 2))) for s in (0.1, 1.0, 9.0)]
    w = jnp.ones(8)
    candidates = [selection.judge(held_out, z, z, w) for z in logits]
    for by in candidates[0]:
        found = selection.select(candidates, by)
        assert found.by == by
        assert found.scores[found.index] == max(found.scores)
        np.testing.assert_allclose(found.scores, [float(c[by]) for c in candidates])
    np.testing.assert_allclose(  # equal weights: the two risks are one
        candidates[0]["importance_weighted"], candidates[0]["source_risk"]
    )
    with pytest.raises(ValueError, match="by: got 'target_accuracy'"):
        selection.select(candidates, "target_accuracy")


def test_select_never_takes_what_is_not_finite():
    scores = [
        {"certainty": float("nan")},
        {"certainty": -2.0},
        {"certainty": float("inf")},
    ]
    assert selection.select(scores, "certainty").index == 1
    with pytest.raises(ValueError, match="no finite certainty"):
        selection.select(scores[:1], "certainty")
