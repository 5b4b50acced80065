"""The Crammer-Singer machine: optimality by its own definition, and by other solvers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.optimize import minimize
from sklearn.svm import LinearSVC

from jaxmeta.functional.svm import _project, kkt_residual, svm_dual

pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(2)
WAYS, SHOTS, D = 3, 3, 6
LABELS = np.repeat(np.arange(WAYS), SHOTS)
T = np.eye(WAYS)[LABELS]
X = RNG.normal(size=(WAYS * SHOTS, D)) + 1.5 * np.eye(WAYS, D)[LABELS] + 0.5
K = X @ X.T


def primal(w, C):
    margins = 1 - T + X @ w - np.sum(T * (X @ w), 1, keepdims=True)
    return 0.5 * np.sum(w**2) + C * np.sum(np.max(margins, 1))


@pytest.mark.parametrize("C", [0.01, 0.1, 1.0])
def test_optimality_conditions(C):
    a = svm_dual(K, T, C=C, iterations=1000)
    assert kkt_residual(K, T, a, C=C) < 1e-10
    np.testing.assert_allclose(a.sum(1), 0.0, atol=1e-14)
    assert np.all(a <= C * T)
    # primal = dual: no duality gap, which does not use the projection
    dual = np.sum(a * T) - 0.5 * np.sum(a * (K @ a))
    np.testing.assert_allclose(primal(X.T @ a, C), dual, rtol=1e-9)


@pytest.mark.parametrize("C", [0.1, 1.0])
def test_agrees_with_scikit_learn(C):
    machine = LinearSVC(
        C=C,
        multi_class="crammer_singer",
        fit_intercept=False,
        tol=1e-8,
        max_iter=100000,
    ).fit(X, LABELS)
    w = X.T @ svm_dual(K, T, C=C, iterations=1000)
    np.testing.assert_allclose(w, machine.coef_.T, atol=1e-4)
    assert primal(w, C) <= primal(machine.coef_.T, C) + 1e-8


def test_agrees_with_a_general_solver():
    C, n = 0.5, WAYS * SHOTS

    def objective(a):
        a = a.reshape(n, WAYS)
        return 0.5 * np.sum(a * (K @ a)) - np.sum(a * T)

    found = minimize(
        objective,
        np.zeros(n * WAYS),
        jac=lambda a: (K @ a.reshape(n, WAYS) - T).ravel(),
        method="SLSQP",
        bounds=[(None, b) for b in (C * T).ravel()],
        constraints={
            "type": "eq",
            "fun": lambda a: a.reshape(n, WAYS).sum(1),
            "jac": lambda a: np.kron(np.eye(n), np.ones(WAYS)),
        },
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    a = svm_dual(K, T, C=C, iterations=1000)
    np.testing.assert_allclose(objective(np.asarray(a)), found.fun, rtol=1e-8)
    w = X.T @ found.x.reshape(n, WAYS)
    np.testing.assert_allclose(X.T @ a, w, atol=1e-5)


@pytest.mark.parametrize("C", [0.1, 1.0])
def test_gradient_is_that_of_the_solution(C):
    query = RNG.normal(size=(4, D))

    @jax.jit
    def outputs(x):
        return query @ (x.T @ svm_dual(x @ x.T, T, C=C, iterations=3000))

    check_grads(outputs, (X,), 1, modes=["rev"])


def test_gradient_with_a_singular_gram_matrix():
    """More examples than dimensions: a is not unique, W and its gradient are."""
    x = X[:, :2]

    @jax.jit
    def outputs(x):
        return x.T @ svm_dual(x @ x.T, T, C=0.2, iterations=5000)

    check_grads(outputs, (x,), 1, modes=["rev"])


def test_gradient_in_float32_where_features_are_nearly_a_plane():
    """What a new network makes of points of a plane; of such 32 one had a NaN."""
    random = np.random.default_rng(2)
    first = random.normal(size=(2, 32)) / np.sqrt(2)
    second = random.normal(size=(32, 32)) / np.sqrt(32)
    radius, targets = np.repeat([0.5, 1.3, 2.2], 2), np.repeat(np.eye(3), 2, 0)
    angle = [random.uniform(0, 2 * np.pi, 6) for _ in range(32)]
    points = [radius[:, None] * np.stack([np.cos(t), np.sin(t)], 1) for t in angle]
    features = np.tanh(np.tanh(np.stack(points) @ first) @ second).astype("float32")

    def loss(x):
        t = targets.astype(x.dtype)
        w = x.T @ svm_dual(x @ x.T, t, C=0.1)
        return jnp.sum(jnp.square(x @ w - t))

    gradient = jax.jit(jax.vmap(jax.grad(loss)))
    exact = np.asarray(gradient(jnp.asarray(features, "float64")))
    rounded = gradient(jnp.asarray(features))
    np.testing.assert_allclose(rounded, exact, atol=1e-3 * np.abs(exact).max())


def test_padding_gets_nothing():
    x = np.concatenate([X, np.full((2, D), np.nan)])
    t = np.concatenate([T, np.eye(2, WAYS)])
    weights = np.repeat([1.0, 0.0], [len(T), 2])
    a = svm_dual(x @ x.T, t, weights, C=0.1)
    np.testing.assert_allclose(a[:-2], svm_dual(K, T, C=0.1), atol=1e-12)
    np.testing.assert_array_equal(a[-2:], 0.0)


def test_more_iterations_come_closer():
    seen = [float(kkt_residual(K, T, svm_dual(K, T, C=0.1, iterations=i), C=0.1))
            for i in (5, 50, 500)]  # fmt: skip
    assert seen[0] > 10 * seen[1] > 100 * seen[2]


def test_projection_is_the_nearest_feasible_point():
    a = RNG.normal(size=(WAYS * SHOTS, WAYS))
    p = np.asarray(_project(jnp.asarray(a), jnp.asarray(T), 0.5))
    np.testing.assert_allclose(p.sum(1), 0.0, atol=1e-14)
    assert np.all(p <= 0.5 * T)
    # the angle to every other feasible point is obtuse: (a - p) . (f - p) <= 0
    for _ in range(50):
        b = RNG.dirichlet(np.ones(WAYS) * 0.3, size=len(T))
        f = 0.5 * (T - b)
        assert np.all(np.sum((a - p) * (f - p), 1) <= 1e-12)


def test_errors_name_the_field():
    with pytest.raises(ValueError, match="C: got 0"):
        svm_dual(K, T, C=0)
    with pytest.raises(ValueError, match="iterations: got 0"):
        svm_dual(K, T, C=1.0, iterations=0)


def test_targets_get_no_gradient():
    slope = jax.grad(lambda t: jnp.sum(svm_dual(K, t, C=0.1) ** 2))(T)
    np.testing.assert_array_equal(slope, 0.0)
