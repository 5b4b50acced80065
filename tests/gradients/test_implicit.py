"""The implicit gradient against closed forms, finite differences and a long unroll."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from jaxmeta.gradients import argmin, cg, direct, implicit, neumann, unrolled

pytestmark = pytest.mark.usefixtures("x64")

THETA = np.array([2.0, 3.0, 5.0])
SUPPORT, QUERY = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])
SOLVERS = {
    "cg": cg(steps=10, tolerance=1e-15),
    "neumann": neumann(steps=2000, rate=0.05),
    "direct": direct(),
}


def half_square(w, x):
    return 0.5 * jnp.dot(w, x) ** 2


@pytest.mark.parametrize(
    ("lam", "minimum", "expected"),
    [
        (1.0, [7 / 15, -1 / 15, 2 / 5], np.array([1652, 649, -354]) / 225),
        (2.0, [0.5625, 0.125, 0.6875], [14, 7, 0]),
    ],
)
def test_the_table(lam, minimum, expected):
    """A minimum near theta has a gradient in theta, its centre."""

    def outer(theta):
        found = argmin(
            half_square, theta, SUPPORT, optax.sgd(0.06),
            steps=1000, proximal=lam, gradient=implicit(),
        )  # fmt: skip
        return half_square(found.params, QUERY), found.params

    grads, phi = jax.grad(outer, has_aux=True)(jnp.array(THETA))
    np.testing.assert_allclose(phi, minimum, rtol=1e-12)
    np.testing.assert_allclose(grads, expected, rtol=1e-12, atol=1e-12)


def rows(seed, n=6, d=4):
    keys = jax.random.split(jax.random.key(seed), 2)
    return jax.random.normal(keys[0], (n, d)), jax.random.normal(keys[1], (n,))


def ridge(w, h):
    x, y = rows(0)
    return 0.5 * jnp.sum((x @ w - y) ** 2) + 0.5 * jnp.exp(h) * jnp.sum(w**2)


def validation(w):
    x, y = rows(1)
    return 0.5 * jnp.sum((x @ w - y) ** 2)


def ridge_outer(gradient, steps=1500, **options):
    def outer(h):
        options_of = dict(steps=steps, gradient=gradient) | options
        found = argmin(ridge, jnp.zeros(4), h, optax.sgd(0.05), **options_of)
        return validation(found.params), found.report

    return outer


@pytest.mark.parametrize("name", SOLVERS)
def test_ridge_is_exact(name):
    """w = (X'X + e^h)^-1 X'y,  dw/dh = -(X'X + e^h)^-1 e^h w."""
    h = jnp.array(0.3)
    outer = ridge_outer(implicit(solver=SOLVERS[name]))
    (value, report), got = jax.jit(jax.value_and_grad(outer, has_aux=True))(h)
    x, y = map(np.asarray, rows(0))
    system = x.T @ x + np.exp(0.3) * np.eye(4)
    w = np.linalg.solve(system, x.T @ y)
    want = np.asarray(jax.grad(validation)(w)) @ -np.linalg.solve(
        system, np.exp(0.3) * w
    )
    np.testing.assert_allclose(value, validation(w), rtol=1e-12)
    np.testing.assert_allclose(got, want, rtol=1e-10)
    assert report.gap < 1e-12


def test_logistic_regression_at_its_minimum():
    """dw/dh = -H^-1 e^h w, with H of logistic regression at a minimum by Newton's method."""
    x, y = rows(0, 12)
    sign = jnp.sign(y)

    def loss(w, h):
        fit = jnp.sum(jax.nn.softplus(-sign * (x @ w)))
        return fit + 0.5 * jnp.exp(h) * jnp.sum(w**2)

    def outer(h):
        found = argmin(
            loss, jnp.zeros(4), h, optax.sgd(0.1),
            steps=600, gradient=implicit(solver=cg(steps=10, tolerance=1e-15)),
        )  # fmt: skip
        return validation(found.params), found.params

    got, phi = jax.grad(outer, has_aux=True)(jnp.array(-0.5))
    w = np.zeros(4)
    for _ in range(20):
        grad, hessian = jax.grad(loss)(w, -0.5), jax.hessian(loss)(w, -0.5)
        w = w - np.linalg.solve(hessian, grad)
    np.testing.assert_allclose(phi, w, rtol=1e-8)
    moved = -np.linalg.solve(jax.hessian(loss)(w, -0.5), np.exp(-0.5) * w)
    np.testing.assert_allclose(got, jax.grad(validation)(w) @ moved, rtol=1e-8)


@pytest.mark.parametrize("name", ["cg", "direct"])
def test_second_derivatives(name):
    """The derivative of the hypergradient moves the minimum, too."""
    outer = ridge_outer(implicit(solver=SOLVERS[name]))
    slope = jax.jit(jax.grad(lambda h: outer(h)[0]))
    h, step = jnp.array(0.3), 1e-4
    want = (slope(h + step) - slope(h - step)) / (2 * step)
    np.testing.assert_allclose(jax.grad(slope)(h), want, rtol=1e-6)


@pytest.mark.parametrize("steps", [0, 1, 2, 4])
def test_the_residual_is_the_derivative_in_watch(steps):
    def outer(h, watch):
        gradient = implicit(solver=cg(steps=steps))
        return ridge_outer(gradient, watch=watch)(h)[0]

    h = jnp.array(0.3)
    got, residual = jax.grad(outer, argnums=(0, 1))(h, 0.0)
    x, y = map(np.asarray, rows(0))
    system = x.T @ x + np.exp(0.3) * np.eye(4)
    w = np.linalg.solve(system, x.T @ y)
    g = np.asarray(jax.grad(validation)(w))
    u = jax.scipy.sparse.linalg.cg(lambda v: system @ v, g, x0=g, maxiter=steps)[0]
    miss = np.linalg.norm(system @ u - g) / np.linalg.norm(g)
    np.testing.assert_allclose(residual, miss, rtol=1e-6, atol=1e-10)
    # rough, but not zero: with no step at all the Hessian is taken for the identity
    np.testing.assert_allclose(got, -np.exp(0.3) * u @ w, rtol=1e-8)
    assert (residual < 1e-10) == (steps == 4) and got != 0


def test_a_walk_that_did_not_arrive_is_seen_and_can_be_refused():
    outer = ridge_outer(implicit(), steps=3)
    slope, report = jax.grad(outer, has_aux=True)(jnp.array(0.3))
    assert 1e-3 < report.gap < 1 and np.isfinite(slope)
    for gradient in (implicit(trust=1e-4), implicit(solver=cg(steps=1), trust=1e-4)):
        steps = 3 if gradient.solver == cg() else 1500
        refused = jax.grad(ridge_outer(gradient, steps=steps), has_aux=True)
        assert np.isnan(refused(jnp.array(0.3))[0])
    fine = jax.grad(ridge_outer(implicit(trust=1e-4)), has_aux=True)
    assert np.isfinite(fine(jnp.array(0.3))[0])


def test_damping_and_no_step_lean_to_first_order_where_there_is_a_centre():
    def outer(theta, gradient):
        found = argmin(
            half_square, theta, SUPPORT, optax.sgd(0.06),
            steps=1000, proximal=1.0, gradient=gradient,
        )  # fmt: skip
        return half_square(found.params, QUERY), found.params

    def of(gradient):
        return jax.grad(outer, has_aux=True)(jnp.array(THETA), gradient)

    damped, phi = of(implicit(solver=cg(steps=10), damping=3.0))
    g = jax.grad(half_square)(phi, QUERY)
    system = np.eye(3) + np.outer(SUPPORT, SUPPORT) / 4.0
    np.testing.assert_allclose(damped, np.linalg.solve(system, g), rtol=1e-10)
    first, same = of(implicit(solver=cg(steps=0)))
    np.testing.assert_array_equal(phi, same)
    np.testing.assert_allclose(first, g, rtol=1e-14)


def test_damping_makes_a_concave_system_definite():
    lam, damping, g = 2.0, 30.0, jnp.array([1.0, -2.0, 0.5])
    slope = jax.grad(lambda w: -half_square(w, SUPPORT) + lam / 2 * jnp.sum(w**2))
    gradient = implicit(solver=cg(steps=10), damping=damping)
    solved = gradient.solve(slope, jnp.array(THETA), g, lam)
    system = np.eye(3) - np.outer(SUPPORT, SUPPORT) / (lam + damping)
    assert np.linalg.eigvalsh(system).min() > 0
    assert np.linalg.eigvalsh(np.eye(3) - np.outer(SUPPORT, SUPPORT) / lam).min() < 0
    np.testing.assert_allclose(
        lam * solved.gradient, np.linalg.solve(system, g), rtol=1e-10
    )
    none = gradient.solve(slope, jnp.array(THETA), 0 * g, lam)
    assert none.residual == 0 and np.all(none.gradient == 0)


def small_net():
    keys = jax.random.split(jax.random.key(2), 4)
    theta = {
        "in": jax.random.normal(keys[0], (2, 3)),
        "out": jax.random.normal(keys[1], (3,)),
    }
    return theta, (jax.random.normal(keys[2], (5, 2)), jax.random.normal(keys[3], (5,)))


EXACT = implicit(solver=cg(steps=30, tolerance=1e-14))


def judged(phi):
    return jnp.sum(jnp.sin(phi["in"])) + jnp.sum(phi["out"] ** 3)


def test_agrees_with_a_long_unroll_and_finite_differences():
    theta, (x, y) = small_net()

    def loss(w, h):
        return jnp.mean((jnp.tanh(x @ w["in"]) @ w["out"] - h * y) ** 2)

    def outer(gradient):
        def value(theta, h):
            found = argmin(
                loss, theta, h, optax.sgd(0.1),
                steps=400, proximal=2.0, gradient=gradient,
            )  # fmt: skip
            return judged(found.params)

        return jax.jit(value)

    args = theta, jnp.array(0.7)
    got, want = (
        jax.grad(outer(gradient), (0, 1))(*args) for gradient in (EXACT, unrolled())
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), got, want)
    check_grads(outer(EXACT), args, order=1, modes=["rev"])


def test_everything_the_loss_reads_has_its_derivative():
    """lam, the hypers, a frozen array the loss closes over; keys and integers pass."""
    theta, (x, y) = small_net()
    key = jax.random.key(3)

    def outer(theta, frozen, lam, x, key, label):
        def loss(w, hypers):
            noise = 0.1 * jax.random.normal(key, (3,))
            x, y, label = hypers
            hidden = jnp.tanh(x @ w["in"] + noise + frozen)
            return jnp.mean((hidden @ w["out"] - y) ** 2) + w["out"][label] ** 2

        found = argmin(
            loss, theta, (x, y, label), optax.sgd(0.1),
            steps=400, proximal=lam, gradient=EXACT,
        )  # fmt: skip
        return judged(found.params)

    args = (theta, jnp.array([0.3, -0.2, 0.1]), jnp.array(1.5), x)
    label = jnp.array(1)
    outer = jax.jit(outer)
    check_grads(lambda *a: outer(*a, key, label), args, order=1, modes=["rev"])

    grad = jax.grad(outer, argnums=(0, 1, 2))
    keys, labels = jax.random.split(key, 2), jnp.array([0, 2])
    mapped = jax.vmap(grad, (None,) * 4 + (0, 0))(*args, keys, labels)
    looped = jax.lax.map(lambda kl: grad(*args, *kl), (keys, labels))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9), mapped, looped
    )


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (dict(proximal=0.0), "proximal: got 0.0"),
        (dict(steps=-2), "steps: got -2"),
        (dict(batches=jnp.ones(2)), "batches: got some for each step"),
        (dict(visit=lambda phi, k: phi), "visit: got a function"),
    ],
)
def test_refuses_problems(options, field):
    options = dict(steps=2, gradient=implicit()) | options
    with pytest.raises(ValueError, match=field):
        argmin(lambda w, h, *b: w**2, 1.0, (), optax.sgd(0.1), **options)


@pytest.mark.parametrize(
    ("build", "field"),
    [
        (lambda: cg(steps=-1), "steps: got -1"),
        (lambda: cg(tolerance=-1.0), "tolerance: got -1.0"),
        (lambda: neumann(steps=-1), "steps: got -1"),
        (lambda: neumann(rate=0.0), "rate: got 0.0"),
        (lambda: implicit(damping=-1.0), "damping: got -1.0"),
        (lambda: implicit(trust=0.0), "trust: got 0.0"),
    ],
)
def test_refuses_options(build, field):
    with pytest.raises(ValueError, match=field):
        build()
