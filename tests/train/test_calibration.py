"""Evaluation of what a learner believes: likelihood, calibration, coverage."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta import metrics
from jaxmeta.core import Batch, Episode
from jaxmeta.functional import predictive as pr
from jaxmeta.learners.probabilistic import classifier, regressor

KEY = jax.random.key(0)


def knows(predict, criterion=jm.criteria.classification):
    """A learner with nothing to learn."""
    return jm.MetaLearner(
        lambda key, episode: jm.Meta({}),
        lambda meta, support, key: (),
        lambda meta, fast, inputs: predict(inputs),
        lambda meta, episode, key: (jnp.zeros(()), jm.Aux({})),
        criterion,
    )


def coins(key):
    """Inputs are the log-odds of their labels: an honest learner repeats them."""
    odds_key, label_key = jax.random.split(key)
    odds = 2 * jax.random.normal(odds_key, (30, 1))
    heads = jax.random.bernoulli(label_key, jax.nn.sigmoid(odds[:, 0]))
    batch = Batch(odds, jax.nn.one_hot(heads.astype(int), 2))
    return Episode(Batch(odds, jnp.tile(jnp.eye(2), (15, 1))), batch)


def test_an_honest_classifier_is_calibrated_and_a_loud_one_is_not():
    def believes(factor):
        learner = knows(lambda x: jnp.concatenate([0 * x, factor * x], 1))
        found = jm.evaluate(
            learner,
            jm.Meta({}),
            coins,
            KEY,
            episodes=400,
            chunk=400,
            predictive=classifier(learner).predictive,
        )
        return found

    honest, loud = believes(1.0), believes(3.0)
    assert honest.ece < 0.02 < 0.08 < loud.ece
    assert honest.nll < loud.nll and loud.entropy < honest.entropy
    # an honest classifier expects the surprise it has
    half = jm.train.interval(honest.nlls)[1]
    assert abs(honest.nll - honest.entropy) < 2 * half
    assert honest.coverage is None
    assert honest.nlls.shape == (400,)
    assert honest.mean == loud.mean  # accuracy cannot tell them apart


def noisy(key):
    x_key, e_key = jax.random.split(key)
    x = jax.random.normal(x_key, (20, 1))
    batch = Batch(x, x + 0.5 * jax.random.normal(e_key, (20, 1)))
    return Episode(batch, batch)


@pytest.mark.parametrize(("noise", "covered"), [(0.5, 0.9), (0.2, 0.4894), (2.0, 1.0)])
def test_coverage_of_a_regressor(noise, covered):
    """Phi(1.645 * noise / 0.5) in the middle."""
    learner = knows(lambda x: x, jm.criteria.regression)
    found = jm.evaluate(
        learner,
        jm.Meta({}),
        noisy,
        KEY,
        episodes=300,
        chunk=300,
        predictive=regressor(learner, noise).predictive,
    )
    np.testing.assert_allclose(found.coverage, covered, atol=0.02)
    want = 0.5 * (0.5 / noise) ** 2 + np.log(noise) + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(found.nll, want, rtol=0.03)
    assert (found.ece < 0.02) == (noise == 0.5)


def test_without_a_belief_nothing_is_said():
    learner = knows(lambda x: x, jm.criteria.regression)
    found = jm.evaluate(learner, jm.Meta({}), noisy, KEY, episodes=2)
    for name in ("nll", "nlls", "entropy", "ece", "coverage"):
        assert getattr(found, name) is None


def test_classes_without_an_example_get_no_probability():
    episode = Episode(
        Batch(jnp.zeros((2, 1)), jnp.eye(2, 3)), Batch(jnp.zeros((2, 1)), jnp.eye(2, 3))
    )
    got = jm.train.calibration.statistics(pr.categorical(jnp.zeros((2, 3))), episode)
    np.testing.assert_allclose(got["nll"], np.log(2), rtol=1e-6)
    np.testing.assert_allclose(got["entropy"], np.log(2), rtol=1e-6)


def test_ece_by_hand():
    p = jnp.array([[0.9, 0.1], [0.8, 0.2], [0.35, 0.65], [0.5, 0.5]])
    targets = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    real = jnp.array([1.0, 1.0, 1.0, 0.0])
    # bins of 0.2: {0.9, 0.8} with one hit of two, {0.65} with one of one
    want = 2 / 3 * abs(0.5 - 0.85) + 1 / 3 * abs(1 - 0.65)
    np.testing.assert_allclose(metrics.ece(p, targets, 5, real), want, rtol=1e-6)
    table = metrics.calibration_bins(p, targets, 5, real)
    np.testing.assert_allclose(table[:, 0], [0, 0, 0, 1, 2])
    with pytest.raises(ValueError, match="bins: got 0"):
        metrics.ece(p, targets, bins=0)
