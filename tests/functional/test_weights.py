"""Weights of rows: 0 is a row cut away, 2 is a row written twice; in gradients too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmeta.core import Batch, Episode
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.attention import attend, vote
from jaxmeta.functional.gaussian import Gaussian, coverage, gaussian_nll
from jaxmeta.functional.logistic import fit_logistic
from jaxmeta.functional.ridge import logistic, ridge
from jaxmeta.functional.svm import kkt_residual, svm_dual
from jaxmeta.train.calibration import statistics

pytestmark = pytest.mark.usefixtures("x64")
RANDOM = np.random.default_rng(0)
LABELS = np.array([0, 1, 2, 0, 1, 2])
T = np.eye(3)[LABELS]
X = RANDOM.normal(size=(6, 4)) + np.eye(3, 4)[LABELS]
REAL = RANDOM.normal(size=(6, 3))
QUERY = RANDOM.normal(size=(2, 4))
WEIGHTS = np.array([1, 0, 2, 1, 3, 1.0])
KEPT = np.repeat(np.arange(6), WEIGHTS.astype(int))


def calibrated(p, t, w):
    shown = Batch(None, jnp.eye(3), None)
    found = statistics(p, Episode(shown, Batch(None, t, w)))
    return jnp.concatenate([jnp.ravel(found[k]) for k in sorted(found)])


# name -> (function of rows [n, d], targets [n, c] and weights; tolerance)
TABLE = {
    "ridge_primal": (lambda x, t, w: ridge(x, t, 0.7, w, form="primal"), REAL, 1e-12),
    "ridge_dual": (lambda x, t, w: ridge(x, t, 0.7, w, form="dual"), REAL, 1e-12),
    "logistic_primal": (lambda x, t, w: logistic(x, t, 0.7, w, steps=3), T, 1e-12),
    "logistic_dual": (
        lambda x, t, w: logistic(jnp.tile(x, 4), t, 0.7, w, steps=3), T, 1e-12),
    "svm": (
        lambda x, t, w: x.T @ svm_dual(x @ x.T, t, w, C=0.3, iterations=5000), T, 1e-9),
    "svm_far_from_solved": (
        lambda x, t, w: kkt_residual(x @ x.T, t, jnp.zeros_like(x[:, :3]), w, C=0.3), T, 1e-12),
    "fit_logistic": (
        lambda x, t, w: fit_logistic(x, t, w, l2=0.1, tolerance=1e-12).kernel, T, 1e-9),
    "attend": (lambda x, t, w: attend(QUERY @ x.T, t, w), REAL, 1e-12),
    "vote": (lambda x, t, w: vote(QUERY @ x.T, t, w), T, 1e-12),
    "gaussian_nll": (
        lambda x, t, w: gaussian_nll(Gaussian(x[:, :3], jnp.exp(x[:, 1:])), t, w),
        REAL, 1e-12),
    "coverage": (
        lambda x, t, w: coverage(Gaussian(x[:, :3], jnp.exp(x[:, 1:])), t, w, level=0.6),
        REAL, 1e-12),
    "nll_of_classes": (
        lambda x, t, w: pr.nll(pr.categorical(jnp.stack([x[:, :3], x[:, 1:]])), t, w),
        T, 1e-12),
    "nll_of_values": (
        lambda x, t, w: pr.nll(pr.normal(jnp.stack([x[:, :3], x[:, 1:]]), 0.5), t, w),
        REAL, 1e-12),
    "coverage_of_mixture": (
        lambda x, t, w: pr.coverage(pr.normal(x[:, :3], 0.7), t, w, level=0.6),
        REAL, 1e-12),
    "calibration_of_classes": (
        lambda x, t, w: calibrated(pr.categorical(x[:, :3]), t, w), T, 1e-12),
    "calibration_of_values": (
        lambda x, t, w: calibrated(pr.normal(x[:, :3], 0.5), t, w), REAL, 1e-12),
}  # fmt: skip

# what is computed of the rows on the way there has a gradient of 0 times NaN of its own
COMPUTED = (
    "svm_far_from_solved",
    "svm",
    "gaussian_nll",
    "coverage",
    "nll_of_classes",
    "calibration_of_classes",
)


@pytest.mark.parametrize("name", TABLE)
def test_a_weight_is_a_number_of_copies(name):
    """The row of weight 0 holds NaN: its targets, and what the function itself reads."""
    function, targets, tolerance = TABLE[name]

    @jax.jit
    def run(x, t, w):
        def scalar(x):
            y = function(x, t, w)
            return jnp.sum(jnp.cos(jnp.arange(y.size)).reshape(y.shape) * y), y

        grads, y = jax.grad(scalar, has_aux=True)(x)
        return y, grads

    x, t = X.copy(), targets.copy()
    x[1], t[1] = 50.0 if name in COMPUTED else np.nan, np.nan
    y, slope = run(x, t, WEIGHTS)
    want, copies = run(X[KEPT], targets[KEPT], None)
    np.testing.assert_allclose(y, want, rtol=tolerance, atol=tolerance)
    assert np.all(np.isfinite(want))
    total = np.zeros_like(X)
    np.add.at(total, KEPT, np.asarray(copies))
    np.testing.assert_allclose(slope, total, rtol=10 * tolerance, atol=10 * tolerance)


def test_nothing_at_all():
    """A set of padding alone gives zeros, not 0/0."""
    none = np.zeros(6)
    for function, targets, _ in TABLE.values():
        assert np.all(np.isfinite(jax.jit(function)(X, targets, none)))
