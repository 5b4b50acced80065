"""Mixtures: densities, entropies and bands against SciPy, quadrature and sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from jaxmeta import losses
from jaxmeta.functional import gaussian
from jaxmeta.functional import predictive as pr

KEY = jax.random.key(0)
MEANS = np.array([[[0.0], [2.0]], [[1.5], [2.0]], [[-3.0], [2.5]]])
STDS = np.array([[[1.0], [0.3]], [[0.5], [0.3]], [[0.8], [0.6]]])


@pytest.fixture
def mixture(x64):
    return pr.normal(jnp.asarray(MEANS), jnp.asarray(STDS))


def density(i, y):
    return scipy.stats.norm(MEANS[:, i, 0], STDS[:, i, 0]).pdf(y).mean()


def test_regression_against_scipy(mixture):
    targets = jnp.array([[0.7], [2.2]])
    want = [np.log(density(i, t.item())) for i, t in enumerate(targets)]
    np.testing.assert_allclose(pr.log_prob(mixture, targets)[:, 0], want, rtol=1e-12)
    np.testing.assert_allclose(pr.nll(mixture, targets), -np.mean(want), rtol=1e-12)
    np.testing.assert_allclose(pr.mean(mixture), MEANS.mean(0), rtol=1e-12)
    for i, t in enumerate(targets):
        below = scipy.integrate.quad(
            lambda y: density(i, y),  # noqa: B023
            -20,
            t.item(),
            epsabs=1e-12,
            limit=200,
        )
        np.testing.assert_allclose(pr.cdf(mixture, targets)[i, 0], below[0], rtol=1e-8)


def test_entropy_of_a_mixture_by_quadrature(mixture):
    def of(i):
        def integrand(y):
            p = density(i, y)
            return -p * np.log(p) if p > 0 else 0.0

        return scipy.integrate.quad(integrand, -15, 15, epsabs=1e-10, limit=400)[0]

    # Gauss-Hermite meets kinks between separate members: 32 nodes, three digits
    np.testing.assert_allclose(pr.entropy(mixture)[:, 0], [of(0), of(1)], atol=2e-3)


def test_one_normal_member_is_the_gaussian(x64):
    rng = np.random.default_rng(0)
    mean, targets = jnp.asarray(rng.normal(size=(2, 9, 2)))
    plain = gaussian.Gaussian(mean, jnp.asarray(rng.uniform(0.2, 2, size=(9, 2))))
    p = pr.of_gaussian(plain)
    np.testing.assert_allclose(
        pr.log_prob(p, targets), gaussian.log_prob(plain, targets), rtol=1e-12
    )
    np.testing.assert_allclose(pr.entropy(p), gaussian.entropy(plain), rtol=1e-12)
    assert pr.coverage(p, targets) == gaussian.coverage(plain, targets)
    np.testing.assert_allclose(pr.information(p), 0.0, atol=1e-12)


def test_classification_by_hand(x64):
    p = pr.categorical(jnp.log(jnp.array([[[0.9, 0.1]], [[0.5, 0.5]]])))
    np.testing.assert_allclose(pr.mean(p), [[0.7, 0.3]], rtol=1e-12)
    np.testing.assert_allclose(pr.log_prob(p, jnp.array([[0.0, 1.0]])), np.log([0.3]))
    total = scipy.stats.entropy([0.7, 0.3])
    np.testing.assert_allclose(pr.entropy(p), [total], rtol=1e-12)
    within = (scipy.stats.entropy([0.9, 0.1]) + np.log(2)) / 2
    np.testing.assert_allclose(pr.information(p), [total - within], rtol=1e-12)


def test_padding_and_one_member_are_the_cross_entropy(x64):
    logits = jax.random.normal(KEY, (4, 3))
    targets = jnp.eye(4, 3).at[3].set(jnp.nan)
    weights = jnp.array([1.0, 1.0, 1.0, 0.0])
    p = pr.categorical(logits.at[3].set(jnp.nan))
    want = losses.cross_entropy(logits[:3], targets[:3])
    np.testing.assert_allclose(pr.nll(p, targets, weights), want, rtol=1e-12)
    cut = losses.nll(pr.point(p)[:3], targets[:3])
    np.testing.assert_allclose(cut, want, rtol=1e-12)


def test_certainty_has_no_entropy_and_no_nan():
    p = pr.categorical(jnp.array([[0.0, -jnp.inf]]))
    assert pr.entropy(p).item() == 0.0
    assert pr.log_prob(p, jnp.array([[1.0, 0.0]])).item() == 0.0


def test_samples_have_the_moments(mixture):
    drawn = pr.sample(mixture, KEY, 40_000)
    mean = MEANS.mean(0)
    var = (STDS**2 + MEANS**2).mean(0) - mean**2
    assert (np.abs(drawn.mean(0) - mean) < 4 * np.sqrt(var / 40_000)).all()
    inside = pr.coverage(
        jax.tree.map(lambda x: jnp.repeat(x[:, :1], 40_000, 1), mixture), drawn[:, 0]
    )
    assert abs(inside - 0.9) < 4 * np.sqrt(0.09 / 40_000)
    labels = pr.sample(pr.categorical(jnp.log(jnp.array([[0.2, 0.8]]))), KEY, 10_000)
    assert abs(labels[:, 0, 1].mean() - 0.8) < 4 * 0.4 / 100


def test_bad_input_is_named():
    p = pr.normal(jnp.zeros((2, 1)), 1.0)
    with pytest.raises(ValueError, match="members: got shape"):
        pr.log_prob(p, jnp.zeros((3, 1)))
    with pytest.raises(ValueError, match="level: got 1"):
        pr.coverage(p, jnp.zeros((2, 1)), level=1.0)
