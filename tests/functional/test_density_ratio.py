"""KMM's and KLIEP's problems are solved: constraints, optimality, an independent solver."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from sklearn.linear_model import LogisticRegression

from jaxmeta.functional import density_ratio
from jaxmeta.functional.kernels import rbf
from jaxmeta.functional.logistic import fit_logistic

pytestmark = pytest.mark.usefixtures("x64")
RANDOM = np.random.default_rng(1)
SOURCE = RANDOM.normal(size=(24, 2))
TARGET = RANDOM.normal(size=(15, 2)) * 0.5 + 0.7


def matching(w, sigma2=1.0):
    """The MMD^2 of the weighted source and the target."""
    n, m = len(SOURCE), len(TARGET)
    w = np.asarray(w)
    return (
        w @ rbf(SOURCE, SOURCE, sigma2) @ w / n**2
        - 2 * w @ rbf(SOURCE, TARGET, sigma2).sum(1) / (n * m)
        + rbf(TARGET, TARGET, sigma2).mean()
    )


@pytest.mark.parametrize("bound, epsilon", [(1000.0, None), (1.5, 0.05), (3.0, 0.0)])
def test_kmm_keeps_its_constraints_and_lowers_the_mmd(bound, epsilon):
    w = density_ratio.kmm(SOURCE, TARGET, bandwidth=1.0, bound=bound, epsilon=epsilon)
    n = len(SOURCE)
    slack = n - n**0.5 if epsilon is None else n * epsilon
    assert w.min() >= 0 and w.max() <= bound
    assert abs(w.sum() - n) <= slack + 1e-9
    assert matching(w) < 0.7 * matching(np.ones(n))


def test_kmm_is_the_minimum():
    """Another solver of the same quadratic programme finds nothing lower."""
    n, m, bound, epsilon = len(SOURCE), len(TARGET), 3.0, 0.1
    gram = np.asarray(rbf(SOURCE, SOURCE, 1.0)) + 1e-5 * np.eye(n)
    kappa = n / m * np.asarray(rbf(SOURCE, TARGET, 1.0)).sum(1)

    def value(w):
        return w @ gram @ w / 2 - kappa @ w

    found = scipy.optimize.minimize(
        value, np.ones(n), jac=lambda w: gram @ w - kappa, method="SLSQP",
        bounds=[(0, bound)] * n,
        constraints=[
            {"type": "ineq", "fun": lambda w: n * (1 + epsilon) - w.sum()},
            {"type": "ineq", "fun": lambda w: w.sum() - n * (1 - epsilon)},
        ],
        options={"maxiter": 1000, "ftol": 1e-12},
    )  # fmt: skip
    ours = density_ratio.kmm(
        SOURCE, TARGET, bandwidth=1.0, bound=bound, epsilon=epsilon, iterations=20_000
    )
    np.testing.assert_allclose(value(np.asarray(ours)), found.fun, rtol=1e-7)


def test_projection_is_the_nearest_point():
    """v is nearest to w just where no feasible z has (w - v).(z - v) > 0."""
    w = RANDOM.normal(size=6) * 3
    for low, high in ((2.0, 3.0), (5.0, 5.0), (0.0, 100.0)):
        v = np.asarray(density_ratio._into_box(jnp.asarray(w), 2.0, low, high))
        assert v.min() >= 0 and v.max() <= 2
        assert low - 1e-12 <= v.sum() <= high + 1e-12
        furthest = scipy.optimize.linprog(
            v - w,
            A_ub=[np.ones(6), -np.ones(6)],
            b_ub=[high, -low],
            bounds=[(0, 2)] * 6,
        )
        assert (w - v) @ (furthest.x - v) < 1e-9


def test_kliep_has_mean_weight_one_and_is_optimal():
    key = jax.random.key(0)
    w = density_ratio.kliep(SOURCE, TARGET, key, bandwidth=1.0, iterations=4000)
    on_source = np.asarray(w(SOURCE))
    np.testing.assert_allclose(on_source.mean(), 1.0, rtol=1e-12)
    assert on_source.min() >= 0
    # the gap to the best corner bounds what any other weights could gain
    k = np.asarray(rbf(TARGET, TARGET, 1.0))
    seen = np.asarray(rbf(SOURCE, TARGET, 1.0)).mean(0)
    on_target = np.asarray(w(TARGET))
    corners = (k / seen / on_target[:, None]).sum(0)
    gain = (corners.max() - len(TARGET)) / len(TARGET)
    assert 0 <= gain < 2e-3
    assert np.log(on_target).mean() > 0  # better than all weights equal


def test_kliep_ignores_centres_that_see_no_source():
    far = np.concatenate([TARGET, [[1e4, 0.0]]])
    w = density_ratio.kliep(SOURCE, far, jax.random.key(0), bandwidth=1.0)
    assert np.all(np.isfinite(w(SOURCE)))
    np.testing.assert_allclose(w(SOURCE).mean(), 1.0, rtol=1e-12)


def test_kliep_score_prefers_a_bandwidth_of_the_right_size():
    x = RANDOM.normal(size=(60, 1))
    scores = [
        density_ratio.kliep_score(x, x[:40] * 0.5, jax.random.key(0), s)
        for s in (1e-3, 0.5)
    ]
    assert scores[1] > scores[0]


def test_logistic_regression_is_that_of_scikit_learn():
    x = RANDOM.normal(size=(40, 3))
    y = (x[:, 0] + 0.5 * RANDOM.normal(size=40) > 0).astype(int)
    weights = RANDOM.uniform(0.5, 2.0, 40)
    l2 = 0.05
    ours = fit_logistic(x, np.eye(2)[y], weights, l2=l2, tolerance=1e-9)
    # softmax over two columns halves the penalty of their difference
    other = LogisticRegression(C=2 / (l2 * weights.sum()), tol=1e-10, max_iter=1000)
    other.fit(x, y, weights)
    np.testing.assert_allclose(
        ours.kernel[:, 1] - ours.kernel[:, 0], other.coef_[0], rtol=1e-5
    )
    np.testing.assert_allclose(ours.bias[1] - ours.bias[0], other.intercept_, rtol=1e-4)


@pytest.mark.parametrize(
    "bad", [dict(bound=0.5), dict(epsilon=-1.0), dict(iterations=0)]
)
def test_arguments_of_kmm_are_checked(bad):
    with pytest.raises(ValueError, match="bound >= 1"):
        density_ratio.kmm(SOURCE, TARGET, **bad)
