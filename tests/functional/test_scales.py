"""Features of any size: float32 against float64, for every function that solves or compares.

A common factor s of the features is a change of units. Each function must answer in
float32 as it does in float64, and so must its gradient: not NaN, not zero, not more.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxmeta.functional import density_ratio, distances, kernels, spectral, svgd
from jaxmeta.functional.attention import vote
from jaxmeta.functional.embedding import normalise
from jaxmeta.functional.logistic import fit_logistic
from jaxmeta.functional.ridge import logistic, ridge
from jaxmeta.functional.svm import kkt_residual, svm_dual
from jaxmeta.transfer.alignment import coral, subspace_alignment
from jaxmeta.transfer.importance import classifier_ratio

RANDOM = np.random.default_rng(0)
LABELS = np.repeat(np.arange(3), 3)
T = np.eye(3)[LABELS]
X = RANDOM.normal(size=(9, 6)) + 1.5 * np.eye(3, 6)[LABELS]
WIDE = RANDOM.normal(size=(9, 14))
OVERLAP = RANDOM.normal(size=(24, 3)) + np.array(
    [0, 2, 0]
)  # two classes that no plane divides
SIDE = np.eye(2)[(OVERLAP[:, 0] + RANDOM.normal(size=24) > 0).astype(int)]
KEY = jax.random.key(0)
SCALES = (1e-6, 1e-3, 1e3, 1e6)


def machine(x, weights=None):
    return x.T @ svm_dual(x @ x.T, jnp.asarray(T, x.dtype), weights, C=0.1)


def plane(x):
    """A fitted classifier, by its logits."""
    linear = fit_logistic(x, jnp.asarray(SIDE, x.dtype), l2=0.05)
    return linear(x)


# name -> function of features, the features, whether it has a gradient, relative error
TABLE = {
    "ridge_primal": (lambda x: ridge(x, jnp.asarray(T, x.dtype), 1.0), X, True, 1e-5),
    "ridge_dual": (lambda x: ridge(x, jnp.asarray(T, x.dtype), 1.0), WIDE, True, 1e-5),
    "logistic_primal": (
        lambda x: logistic(x, jnp.asarray(T, x.dtype), 1.0, steps=5), X, True, 5e-3),
    "logistic_dual": (
        lambda x: logistic(x, jnp.asarray(T, x.dtype), 1.0, steps=5), WIDE, True, 1e-4),
    "svm": (machine, X, True, 1e-3),
    "squared_euclidean": (
        lambda x: distances.squared_euclidean(x, x[:4]), X, True, 1e-6),
    "cosine": (lambda x: distances.cosine_similarity(x, x[:4]), X, True, 1e-6),
    "unit": (distances.unit, X, True, 1e-6),
    "cl2n": (lambda x: normalise(x, "cl2n", mean=x.mean(0)), X, True, 1e-5),
    "vote_by_cosine": (
        lambda x: vote(distances.cosine_similarity(x, x), jnp.asarray(T, x.dtype)),
        X, True, 1e-5),
    "rbf_at_the_median": (
        lambda x: kernels.rbf(x, x[:4], kernels.median_bandwidth(x, x[:4])),
        X, True, 1e-5),
    "mmd": (lambda x: kernels.mmd(x[:5], 2 * x[5:]), X, True, 1e-4),
    "svgd": (lambda x: svgd.direction(x, x), X, True, 1e-5),
    "coral_distance": (
        lambda x: spectral.coral_distance(x[:5], x[5:]), X, True, 1e-5),
    "coral": (lambda x: coral(x, x[:5] * 2, lam=1.0).source(x), X, False, 1e-4),
    "coral_without_lam": (
        lambda x: coral(x, x[:5] * 2, lam=0.0).source(x), X, False, 1e-4),
    "subspace_alignment": (
        lambda x: subspace_alignment(x[:5], x[4:], dim=2).source(x) @
        subspace_alignment(x[:5], x[4:], dim=2).target(x).T, X, False, 1e-4),
    "kmm": (lambda x: density_ratio.kmm(x, x[:5]), X, False, 1e-3),
    "kliep": (lambda x: density_ratio.kliep(x, x[:5], KEY)(x), X, False, 1e-4),
    "fit_logistic": (plane, OVERLAP, False, 1e-4),
    "classifier_ratio": (
        lambda x: classifier_ratio(x[:14], x[10:], l2=0.05)(x), OVERLAP, False, 1e-4),
}  # fmt: skip


def answers(function, x, sloped, dtype):
    """`[(value, gradient)]` at all scales, from one compiled program."""
    with jax.enable_x64(dtype == "float64"):

        def both(x):
            if not sloped:
                return function(x), jnp.zeros(())
            y, pull = jax.vjp(function, x)
            return y, pull(jnp.cos(jnp.arange(y.size, dtype=dtype)).reshape(y.shape))[0]

        run = jax.jit(both)
        found = [run(jnp.asarray(s * x, dtype)) for s in SCALES]
        return [[np.asarray(y, np.float64) for y in pair] for pair in found]


@pytest.mark.parametrize("name", TABLE)
def test_single_precision_is_enough_at_any_scale(name):
    function, x, sloped, rtol = TABLE[name]
    precise = answers(function, x, sloped, "float64")
    for s, want, got in zip(
        SCALES, precise, answers(function, x, sloped, "float32"), strict=True
    ):
        for a, b, what in zip(got, want, ("value", "gradient"), strict=True):
            size = np.abs(b).max()
            np.testing.assert_allclose(
                a / (size or 1), b / (size or 1), atol=rtol, rtol=0,
                err_msg=f"{what} at {s:g}",
            )  # fmt: skip


def test_a_direction_has_no_scale():
    """Rows of any length that float32 can hold; only a zero row stays zero."""
    for s in (1e-30, 1e-9, 1e-6, 1e9, 1e30):
        got = distances.unit(jnp.array([[3.0, 4.0], [0.0, 0.0]]) * s)
        np.testing.assert_allclose(got, [[0.6, 0.8], [0.0, 0.0]], rtol=1e-6)
        slope = jax.grad(lambda x: distances.unit(x)[:, 0].sum())(
            jnp.array([[3.0, 4.0], [0.0, 0.0]]) * s
        )
        # d(x/|x|)/dx = (I - u u^T)/|x|
        want = np.array([[0.64, -0.48], [0.0, 0.0]]) / (5 * s)
        np.testing.assert_allclose(slope, want, rtol=1e-5)


def test_the_machine_is_the_same_at_any_scale(x64):
    """Features s times as long at a price of C / s^2: W is 1/s as large, no more."""
    t = jnp.asarray(T)
    for dtype, rtol in (("float32", 1e-4), ("float64", 1e-9)):
        seen = []
        for s in (1e-6, 1.0, 1e6):
            x = jnp.asarray(s * X, dtype)
            gram = x @ x.T
            a = svm_dual(gram, t.astype(dtype), C=0.1 / s**2)
            seen.append(np.asarray(s * (x.T @ a), np.float64))
            assert kkt_residual(gram, t.astype(dtype), a, C=0.1 / s**2) < rtol
            # nothing solved is far from solved, in any units
            none = kkt_residual(gram, t.astype(dtype), 0 * a, C=0.1 / s**2)
            assert none > 0.1
        assert np.abs(seen[1]).max() > 0.1
        for other in (seen[0], seen[2]):
            np.testing.assert_allclose(
                other, seen[1], atol=rtol * np.abs(seen[1]).max()
            )


def test_a_machine_that_has_not_converged_says_so():
    """Columns in units of their own, far from zero: slow, and the residual shows it."""
    x = (X + 10) * np.array([1, 10, 1e2, 1e3, 1e4, 1e5])
    gram, t = jnp.asarray(x @ x.T, "float32"), jnp.asarray(T, "float32")
    assert kkt_residual(gram, t, svm_dual(gram, t, C=0.1, iterations=30), C=0.1) > 0.1


@pytest.mark.parametrize("form", ["primal", "dual", "logistic"])
def test_equal_rows_at_any_scale_are_no_nan(form):
    """A system that is singular but for lam, which rounding swallows."""
    y = jnp.asarray(np.eye(2)[RANDOM.integers(0, 2, 8)], "float32")

    @jax.jit
    def solve(x):
        if form == "logistic":
            return logistic(x, y, 1e-2, steps=5)
        return ridge(x, y, 1e-2, form=form)

    for s in SCALES:
        x = jnp.asarray(np.tile(WIDE[:4], (2, 1)) * s, "float32")
        w, slope = solve(x), jax.grad(lambda x: solve(x).sum())(x)
        assert jnp.isfinite(w).all() and jnp.isfinite(slope).all()
        # predictions are those of a fit: between the labels, or beyond by a logit
        assert jnp.abs(x @ w).max() < (20 if form == "logistic" else 2)


def test_particles_close_together_repel_as_those_apart():
    """Spread 1e-4 about 1: the push is that of the spread, not of its rounding."""
    x = RANDOM.normal(size=(5, 3))
    offset = np.asarray(1 + x / 1e4, "float32")
    with jax.enable_x64(True):
        want = svgd.direction(jnp.asarray(offset, "float64"), jnp.zeros((5, 3)))
    got = svgd.direction(jnp.asarray(offset), jnp.zeros((5, 3), "float32"))
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


def test_large_samples_are_compared_some_rows_at_a_time(monkeypatch):
    whole = kernels.rbf(jnp.asarray(X), jnp.asarray(WIDE[:7, :6]), 2.0)
    monkeypatch.setattr(kernels, "AT_ONCE", 100)
    parts = kernels.rbf(jnp.asarray(X), jnp.asarray(WIDE[:7, :6]), 2.0)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


def test_a_unit_row_of_nan_is_nan_even_where_a_maximum_loses_it(monkeypatch):
    """XLA's maximum on CPUs does, from some thousand numbers on."""
    x = jnp.array([[jnp.nan, 1.0], [3.0, 4.0], [0.0, 0.0]])
    monkeypatch.setattr(distances.jnp, "max", jnp.nanmax)
    got = distances.unit(x)
    assert jnp.isnan(got[0]).any()
    np.testing.assert_allclose(got[1:], [[0.6, 0.8], [0, 0]], rtol=1e-6)
    monkeypatch.setattr(distances.jnp, "max", lambda x, *a, **k: jnp.zeros((3, 1)))
    assert jnp.isnan(distances.unit(x)[0]).any()
    monkeypatch.undo()
    assert jnp.isnan(jax.jit(distances.unit)(jnp.full((100, 64), jnp.nan))).all()
