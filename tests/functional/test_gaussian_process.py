"""Exact inference of Gaussian processes, and the tasks that they draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxmeta as jm
from jaxmeta.core import Batch
from jaxmeta.functional import gaussian_prior
from jaxmeta.functional import gaussian_process as gp

RNG = np.random.default_rng(0)
X = RNG.uniform(-1, 1, (7, 1))
Y = np.sin(4 * X) + 0.2 * RNG.normal(size=(7, 1))
SUM = ("rbf", "periodic")
HYPER = gaussian_prior.Hyper(
    *(np.array(x) for x in ([0.5, 1.1], [0.9, 0.6], [1.0, 0.7], 0.3))
)


def kernel(a, b):
    """The sum above, with its noise left out, in NumPy."""
    d = a - b.T
    wave = np.exp(-2 * np.sin(np.pi * d / 0.7) ** 2 / 1.1**2)
    return 0.81 * np.exp(-0.5 * (d / 0.5) ** 2) + 0.36 * wave


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("rbf", lambda r: np.exp(-(r**2) / 2)),
        ("matern12", lambda r: np.exp(-r)),
        ("matern32", lambda r: (1 + 3**0.5 * r) * np.exp(-(3**0.5) * r)),
        (
            "matern52",
            lambda r: (1 + 5**0.5 * r + 5 * r**2 / 3) * np.exp(-(5**0.5) * r),
        ),
    ],
)
def test_kernels_of_a_distance(name, formula, x64):
    a, b = RNG.normal(size=(2, 4, 3))
    hyper = gaussian_prior.Hyper(
        jnp.array([0.7]), jnp.array([1.3]), jnp.ones(1), jnp.array(1.0)
    )
    r = np.linalg.norm(a[:, None] - b[None], axis=-1) / 0.7
    got = gaussian_prior.covariance((name,), hyper, a, b)
    np.testing.assert_allclose(got, 1.69 * formula(r), rtol=1e-12)
    slope = jax.grad(lambda x: gaussian_prior.covariance((name,), hyper, x, x).sum())(a)
    assert np.isfinite(slope).all()  # where a point meets itself, too


def test_posterior_and_evidence_are_those_of_the_joint_normal(x64):
    new = RNG.uniform(-1, 1, (3, 1))
    k, across = kernel(X, X) + 0.09 * np.eye(7), kernel(X, new)
    got = gp.posterior(SUM, HYPER, Batch(X, Y), new)
    np.testing.assert_allclose(got.mean, across.T @ np.linalg.solve(k, Y), rtol=1e-10)
    left = kernel(new, new) - across.T @ np.linalg.solve(k, across)
    np.testing.assert_allclose(got.std[:, 0], np.sqrt(np.diag(left) + 0.09), rtol=1e-10)
    want = scipy.stats.multivariate_normal(np.zeros(7), k).logpdf(Y[:, 0])
    found = gp.log_evidence(SUM, HYPER, Batch(X, Y))
    np.testing.assert_allclose(found, want, rtol=1e-10)


def test_weights_are_copies_and_padding_is_nothing(x64):
    def said(batch):
        return gp.posterior(SUM, HYPER, batch, X[:2] + 0.1)

    plain = Batch(X, Y, np.r_[2.0, np.ones(6)])
    twice = Batch(np.r_[X, X[:1]], np.r_[Y, Y[:1]])
    np.testing.assert_allclose(said(plain), said(twice), rtol=1e-9)
    junk = Batch(np.r_[X, [[np.nan]]], np.r_[Y, [[np.inf]]], np.r_[np.ones(7), 0.0])
    np.testing.assert_allclose(said(junk), said(Batch(X, Y)), rtol=1e-12)
    np.testing.assert_allclose(
        gp.log_evidence(SUM, HYPER, junk), gp.log_evidence(SUM, HYPER, Batch(X, Y))
    )


def test_the_average_over_hyper_parameters_obeys_the_chain_rule(x64):
    """log p(y_7 | y_1 .. y_6) = log p(y_1 .. y_7) - log p(y_1 .. y_6), each an integral."""
    prior = gaussian_prior.Prior(
        "matern32", length=(0.2, 2.0), scale=(0.5, 1.5), noise=(0.1, 0.4)
    )
    first, last = Batch(X[:6], Y[:6]), (X[6:], Y[6:])

    @jax.jit
    def evidence(batch, at):
        each = jax.vmap(lambda h: gp.log_evidence(prior.kernels, h, batch))(at)
        return jax.nn.logsumexp(each)

    def difference(at):
        return evidence(Batch(X, Y), at) - evidence(first, at)

    belief = gp.averaged(prior, first, last[0], number=512)
    got = gp.log_prob(belief, last[1])[0, 0]
    np.testing.assert_allclose(
        got, difference(gaussian_prior.nodes(prior, 512)), rtol=1e-9
    )
    # the sum is near the integral: a dense grid of the three says the same
    grid = np.stack(np.meshgrid(*[(np.arange(20) + 0.5) / 20] * 3), -1).reshape(-1, 3)
    u = jnp.insert(grid, 2, 0.5, axis=1)  # the period, which has no part in it
    assert abs(got - difference(jax.vmap(prior.of_unit)(u))) < 0.005
    m = gp.moments(belief)
    w = np.exp(belief.log_weights)[:, None, None]
    np.testing.assert_allclose(m.mean, (w * belief.mean).sum(0), rtol=1e-9)
    second = (w * (belief.std**2 + belief.mean**2)).sum(0)
    np.testing.assert_allclose(m.std, np.sqrt(second - m.mean**2), rtol=1e-9)


def test_tasks_are_drawn_from_what_they_say():
    """Targets whitened by the covariance of their hyper-parameters are standard normal."""
    task = jm.tasks.gaussian_process(4, 6, kernel="rbf+matern12", noise=(0.1, 0.3))
    kernels = jm.tasks.prior_of(task).kernels

    @jax.jit
    @jax.vmap
    def white(key):
        hyper, episode = jm.tasks.hyper_of(task, key), task(key)
        x, y = (jnp.concatenate(a) for a in zip(*(b[:2] for b in episode), strict=True))
        k = gaussian_prior.covariance(kernels, hyper, x, x) + hyper.noise**2 * jnp.eye(
            10
        )
        z = jax.scipy.linalg.solve_triangular(jnp.linalg.cholesky(k), y, lower=True)
        return z[:, 0], hyper.length, x

    z, length, x = white(jax.random.split(jax.random.key(0), 1000))
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / z.size)
    share = z[:, :-1] * z[:, 1:]  # neighbours have nothing to do with one another
    assert abs(share.mean()) < 4 / np.sqrt(share.size)
    assert 0.1 < length.min() < 0.12 and 0.58 < length.max() < 0.6
    assert -2 <= x.min() < -1.9 and 1.9 < x.max() <= 2


def test_contexts_vary_in_one_shape():
    task = jm.tasks.gaussian_process((3, 8), (2, 5))
    keys = jax.random.split(jax.random.key(1), 400)
    support, query = jax.jit(jax.vmap(task))(keys)
    for batch, low, high in ((support, 3, 8), (query, 2, 5)):
        assert batch.weights.shape == (400, high)
        sizes, often = np.unique(batch.weights.sum(1), return_counts=True)
        np.testing.assert_array_equal(sizes, np.arange(low, high + 1))
        assert (abs(often / 400 - 1 / len(sizes)) < 0.09).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(kernel="rbf+cubic"), "kernel: got 'rbf\\+cubic', wants one of rbf"),
        (dict(noise=0.0), "noise: got 0.0, wants a number > 0"),
        (dict(length=(0.6, 0.1)), "length: got"),
        (dict(shots=(5, 3)), "shots: got"),
        (dict(bounds=(1, 1)), "bounds: got"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        jm.tasks.gaussian_process(**options)
