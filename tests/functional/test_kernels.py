"""Kernels and second moments against sums written out, and what the gradient must not see."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.test_util import check_grads

from jaxmeta.functional import kernels, spectral
from jaxmeta.functional.distances import squared_euclidean

pytestmark = pytest.mark.usefixtures("x64")
RANDOM = np.random.default_rng(0)
A, B = RANDOM.normal(size=(7, 3)), RANDOM.normal(size=(5, 3)) * 2 + 1


def slow_mmd(a, b, biased):
    """Equation by equation, pair by pair."""
    both = np.concatenate([a, b])
    pairs = itertools.permutations(both, 2)
    sigma2 = np.mean([np.sum((x - y) ** 2) for x, y in pairs])

    def k(x, y):
        d = np.sum((x - y) ** 2)
        return sum(np.exp(-d / (2 * 2.0**u * sigma2)) for u in range(-3, 2))

    def within(x):
        if biased:
            return np.mean([k(p, q) for p in x for q in x])
        return np.mean([k(p, q) for p, q in itertools.permutations(x, 2)])

    return within(a) + within(b) - 2 * np.mean([k(p, q) for p in a for q in b])


@pytest.mark.parametrize("biased", [True, False])
def test_mmd_is_its_definition(biased):
    ours = kernels.mmd(jnp.asarray(A), jnp.asarray(B), biased=biased)
    np.testing.assert_allclose(ours, slow_mmd(A, B, biased), rtol=1e-12)


def test_mmd_of_a_sample_with_itself():
    x = jnp.asarray(A)
    assert abs(kernels.mmd(x, x, biased=True)) < 1e-14
    assert kernels.mmd(x, x) < 0  # the unbiased one lacks the diagonal on two sides


def test_unbiased_mmd_is_zero_on_average_and_the_biased_one_is_not():
    def draws(key):
        a, b = jax.random.normal(key, (2, 6, 2))
        return (
            kernels.mmd(a, b, bandwidth=1.0),
            kernels.mmd(a, b, bandwidth=1.0, biased=True),
        )

    values = jax.vmap(draws)(jax.random.split(jax.random.key(0), 2000))
    unbiased, biased = np.asarray(values)
    error = unbiased.std() / np.sqrt(len(unbiased))
    assert abs(unbiased.mean()) < 4 * error
    assert biased.mean() > 20 * error


def test_bandwidth_is_constant_in_the_gradient():
    """Scaling all features leaves the value, but the gradient does not know that."""
    a, b = jnp.asarray(A), jnp.asarray(B)

    def scaled(s):
        return kernels.mmd(s * a, s * b)

    np.testing.assert_allclose(scaled(1.0), scaled(3.0))
    both = jnp.concatenate([a, b])
    sigma2 = squared_euclidean(both, both).sum() / (12 * 11)
    fixed = jax.grad(lambda s: kernels.mmd(s * a, s * b, bandwidth=sigma2))(1.0)
    np.testing.assert_allclose(jax.grad(scaled)(1.0), fixed, rtol=1e-12)
    assert abs(fixed) > 1e-3  # with the bandwidth inside it would be 0
    check_grads(lambda a: kernels.mmd(a, b, bandwidth=2.0), (a,), order=1)


def test_distances_and_median():
    d = squared_euclidean(jnp.asarray(A), jnp.asarray(B))
    expected = np.array([[np.sum((x - y) ** 2) for y in B] for x in A])
    np.testing.assert_allclose(d, expected, rtol=1e-12)
    middle = kernels.median_bandwidth(jnp.asarray(A), jnp.asarray(B))
    np.testing.assert_allclose(middle, np.median(expected))
    same = squared_euclidean(jnp.full((3, 2), 0.1), jnp.full((3, 2), 0.1))
    assert jnp.all(same >= 0)
    assert kernels.median_bandwidth(jnp.ones((2, 1)), jnp.ones((2, 1))) == 1


def test_powers_of_a_covariance_without_making_it():
    wide = RANDOM.normal(size=(4, 9))  # fewer examples than features
    for x, lam in ((A, 0.0), (A, 0.5), (wide, 0.5)):
        cov = np.cov(x, rowvar=False) + lam * np.eye(x.shape[1])
        _, var, p = spectral.principal(jnp.asarray(x))
        for exponent in (-0.5, 0.5, 1.0):
            got = spectral.apply_spectrum(
                jnp.asarray(x), p,
                spectral.power(var, lam, exponent), spectral.power(0.0, lam, exponent),
            )  # fmt: skip
            expected = x @ scipy.linalg.fractional_matrix_power(cov, exponent)
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)


def test_coral_distance_is_its_definition():
    got = spectral.coral_distance(jnp.asarray(A), jnp.asarray(B))
    c = [(x - x.mean(0)).T @ (x - x.mean(0)) / (len(x) - 1) for x in (A, B)]
    np.testing.assert_allclose(got, np.sum((c[0] - c[1]) ** 2) / (4 * 9), rtol=1e-12)
    assert spectral.coral_distance(jnp.asarray(A), jnp.asarray(A) + 5.0) < 1e-25
    check_grads(
        lambda a: spectral.coral_distance(a, jnp.asarray(B)), (jnp.asarray(A),), 1
    )


def test_shapes_are_checked():
    for f in (kernels.mmd, spectral.coral_distance):
        with pytest.raises(ValueError, match="2 or more examples"):
            f(jnp.ones((1, 3)), jnp.ones((4, 3)))
        with pytest.raises(ValueError, match="same features"):
            f(jnp.ones((4, 2)), jnp.ones((4, 3)))
