"""Closed-form classifiers, against stationarity, Woodbury and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.linear_model import LogisticRegression, Ridge

from jaxmeta.functional.ridge import logistic, ridge

pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(5, 7)), RNG.normal(size=(5, 3))
LABELS = (RNG.uniform(size=(5, 2)) > 0.5).astype(float)
LABELS[:2] = [[0, 1], [1, 0]]  # both values in each column


@pytest.mark.parametrize("lam", [0.1, 1.0])
@pytest.mark.parametrize("form", ["auto", "primal", "dual"])
@pytest.mark.parametrize("tall", [False, True])
def test_ridge_is_stationary(lam, form, tall):
    x, y = (X.T, RNG.normal(size=(7, 3))) if tall else (X, Y)

    def objective(w):
        return jnp.sum((x @ w - y) ** 2) + lam * jnp.sum(w**2)

    w = ridge(x, y, lam, form=form)
    np.testing.assert_allclose(jax.grad(objective)(w), 0.0, atol=1e-8)
    np.testing.assert_allclose(w, ridge(x, y, lam, form="primal"), atol=1e-10)
    reference = Ridge(alpha=lam, fit_intercept=False).fit(x, y).coef_.T
    np.testing.assert_allclose(w, reference, atol=1e-10)


@pytest.mark.parametrize("form", ["primal", "dual"])
def test_ridge_gradients(form):
    solve = jax.jit(ridge, static_argnames="form")
    check_grads(lambda *args: solve(*args, form=form), (X, Y, 0.7), 1)


def test_ridge_ignores_zero_rows():
    for fill in (0.0, np.nan):
        x, y = (np.concatenate([a, np.full((3, a.shape[1]), fill)]) for a in (X, Y))
        weights = None if fill == 0 else np.repeat([1.0, 0.0], [5, 3])
        for form in ("primal", "dual"):
            np.testing.assert_allclose(
                ridge(x, y, 0.3, weights, form=form), ridge(X, Y, 0.3), atol=1e-12
            )


def test_unknown_form():
    with pytest.raises(ValueError, match="form: got 'woodbury'"):
        ridge(X, Y, 1.0, form="woodbury")


def penalised(w, lam, weights=1.0):
    z = X @ w
    return jnp.sum(
        jnp.reshape(weights, (-1, 1)) * (jnp.logaddexp(0.0, z) - LABELS * z)
    ) + 0.5 * lam * jnp.sum(w**2)


@pytest.mark.parametrize("lam", [0.1, 1.0])
def test_logistic_is_the_minimum(lam):
    w = logistic(X, LABELS, lam, steps=10)
    np.testing.assert_allclose(jax.grad(penalised)(w, lam), 0.0, atol=1e-8)
    for c in range(2):
        fit = LogisticRegression(C=1 / lam, fit_intercept=False, tol=1e-10)
        reference = fit.fit(X, LABELS[:, c]).coef_[0]
        np.testing.assert_allclose(w[:, c], reference, atol=1e-5)


def test_newton_steps_contract_quadratically():
    w = logistic(X, LABELS, 1.0, steps=12)
    gaps = [np.abs(logistic(X, LABELS, 1.0, steps=k) - w).max() for k in (1, 2, 3)]
    assert gaps[1] < gaps[0] ** 1.5 and gaps[2] < gaps[1] ** 1.5


def test_logistic_weights_and_gradients():
    padded = np.concatenate([X, np.full((2, 7), 1.5)])
    labels = np.concatenate([LABELS, np.zeros((2, 2))])
    weights = np.array([1, 1, 1, 1, 1, 0, 0.0])
    np.testing.assert_allclose(
        logistic(padded, labels, 0.5, steps=5, weights=weights),
        logistic(X, LABELS, 0.5, steps=5),
        atol=1e-12,
    )
    solve = jax.jit(lambda x, lam: logistic(x, LABELS, lam, steps=2))
    check_grads(solve, (X, 0.7), 1, ["rev"])


def test_a_certain_example_divides_by_nothing():
    w = logistic(1e3 * X, LABELS, 1e-3, steps=8)
    assert np.all(np.isfinite(w))
