"""The implicit gradient against closed forms, finite differences and a long unroll."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

from jaxmeta.functional.implicit import implicit_gradient, proximal_minimum
from jaxmeta.functional.unroll import unroll

pytestmark = pytest.mark.usefixtures("x64")

THETA = np.array([2.0, 3.0, 5.0])
SUPPORT, QUERY = np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0])


def half_square(w, x, step):
    return 0.5 * jnp.dot(w, x) ** 2


@pytest.mark.parametrize(
    ("lam", "minimum", "expected"),
    [
        (1.0, [7 / 15, -1 / 15, 2 / 5], np.array([1652, 649, -354]) / 225),
        (2.0, [0.5625, 0.125, 0.6875], [14, 7, 0]),
    ],
)
def test_the_table(lam, minimum, expected):
    def outer(theta):
        out = proximal_minimum(
            half_square, theta, optax.sgd(0.06), SUPPORT, steps=1000, lam=lam
        )
        return half_square(out.params, QUERY, 0), out.params

    grads, phi = jax.grad(outer, has_aux=True)(jnp.array(THETA))
    np.testing.assert_allclose(phi, minimum, rtol=1e-12)
    np.testing.assert_allclose(grads, expected, rtol=1e-12, atol=1e-12)


def ridge(key, n=6, d=4):
    features, targets, g = (
        jax.random.normal(k, shape)
        for k, shape in zip(jax.random.split(key, 3), [(n, d), (n,), (d,)], strict=True)
    )
    return features, targets, g


def squares(w, batch, step):
    features, targets = batch
    return 0.5 * jnp.sum((features @ w - targets) ** 2)


@pytest.mark.parametrize("lam", [0.3, 5.0])
def test_ridge_closed_form(lam):
    """v = lam (H + lam I)^-1 g, with as many CG steps as parameters."""
    features, targets, g = ridge(jax.random.key(0))
    out = implicit_gradient(
        squares, jnp.zeros(4), (features, targets), g, lam=lam, cg_steps=8
    )
    hessian = features.T @ features
    expected = lam * np.linalg.solve(hessian + lam * np.eye(4), g)
    np.testing.assert_allclose(out.gradient, expected, rtol=1e-10)
    assert out.residual < 1e-10


def test_damping_is_added_to_lam_in_the_system_alone():
    # H = x x^T is concave enough, with its sign turned, to make I + H/lam indefinite
    lam, damping, g = 2.0, 30.0, jnp.array([1.0, -2.0, 0.5])

    def concave(w, x, step):
        return -half_square(w, x, step)

    out = implicit_gradient(
        concave, THETA, SUPPORT, g, lam=lam, cg_steps=10, damping=damping
    )
    system = np.eye(3) - np.outer(SUPPORT, SUPPORT) / (lam + damping)
    assert np.linalg.eigvalsh(system).min() > 0
    assert np.linalg.eigvalsh(np.eye(3) - np.outer(SUPPORT, SUPPORT) / lam).min() < 0
    np.testing.assert_allclose(out.gradient, np.linalg.solve(system, g), rtol=1e-10)


def test_damping_reaches_the_gradient_and_not_the_minimum():
    def outer(theta, damping):
        out = proximal_minimum(
            half_square, theta, optax.sgd(0.06), SUPPORT,
            steps=1000, lam=1.0, damping=damping,
        )  # fmt: skip
        return half_square(out.params, QUERY, 0), out.params

    (exact, phi), (damped, same) = (
        jax.grad(outer, has_aux=True)(jnp.array(THETA), d) for d in (0.0, 3.0)
    )
    np.testing.assert_array_equal(phi, same)
    g = jax.grad(half_square)(phi, QUERY, 0)
    system = np.eye(3) + np.outer(SUPPORT, SUPPORT) / 4.0
    np.testing.assert_allclose(damped, np.linalg.solve(system, g), rtol=1e-10)
    assert np.linalg.norm(damped - exact) > 0.1


def test_residual_is_reported_and_zero_steps_are_first_order():
    features, targets, g = ridge(jax.random.key(1))
    hessian = features.T @ features
    previous = np.inf

    def solve(cg_steps):
        return implicit_gradient(
            squares, jnp.zeros(4), (features, targets), g, lam=1.0, cg_steps=cg_steps
        )

    for cg_steps in (0, 2, 4):
        out = solve(cg_steps)
        miss = np.linalg.norm(out.gradient + hessian @ out.gradient - g)
        np.testing.assert_allclose(
            out.residual, miss / np.linalg.norm(g), rtol=1e-6, atol=1e-12
        )
        if cg_steps == 0:
            np.testing.assert_array_equal(out.gradient, g)
            previous = out.residual
    assert out.residual < 1e-10 < previous
    zero = implicit_gradient(squares, jnp.zeros(4), (features, targets), 0 * g, lam=1.0)
    np.testing.assert_array_equal(zero.gradient, 0 * g)
    assert zero.residual == 0


def tanh_loss(w, batch, step):
    x, y = batch
    hidden = jnp.tanh(x @ w["in"])
    return jnp.mean((hidden @ w["out"] - y) ** 2)


def small_net():
    keys = jax.random.split(jax.random.key(2), 4)
    theta = {
        "in": jax.random.normal(keys[0], (2, 3)),
        "out": jax.random.normal(keys[1], (3,)),
    }
    return theta, (jax.random.normal(keys[2], (5, 2)), jax.random.normal(keys[3], (5,)))


OPTIONS = dict(steps=400, lam=2.0)


def test_agrees_with_a_long_unroll_and_finite_differences():
    theta, batch = small_net()
    tx = optax.sgd(0.1)

    def implicit(theta):
        out = proximal_minimum(
            tanh_loss, theta, tx, batch, cg_steps=30, cg_tol=1e-14, **OPTIONS
        )
        return jnp.sum(jnp.sin(out.params["in"])) + jnp.sum(out.params["out"] ** 3)

    def path(theta):
        def near(w, batch, k):
            gap = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), w, theta)
            return tanh_loss(w, batch, k) + 0.5 * OPTIONS["lam"] * sum(
                jax.tree.leaves(gap)
            )

        phi = unroll(near, theta, tx, batch, steps=OPTIONS["steps"]).params
        return jnp.sum(jnp.sin(phi["in"])) + jnp.sum(phi["out"] ** 3)

    implicit = jax.jit(implicit)
    got, want = jax.grad(implicit)(theta), jax.jit(jax.grad(path))(theta)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), got, want)
    check_grads(implicit, (theta,), order=1, modes=["rev"])


def test_everything_the_loss_reads_has_its_derivative():
    """lam, the batch, a frozen array the loss closes over; keys and integers pass."""
    theta, (x, y) = small_net()
    key = jax.random.key(3)

    def outer(theta, frozen, lam, x, key, label):
        def loss(w, batch, step):
            noise = 0.1 * jax.random.normal(key, (3,))
            x, y, label = batch
            hidden = jnp.tanh(x @ w["in"] + noise + frozen)
            return jnp.mean((hidden @ w["out"] - y) ** 2) + w["out"][label] ** 2

        out = proximal_minimum(
            loss, theta, optax.sgd(0.1), (x, y, label),
            steps=400, lam=lam, cg_steps=30, cg_tol=1e-14,
        )  # fmt: skip
        return jnp.sum(jnp.sin(out.params["in"])) + jnp.sum(out.params["out"] ** 3)

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
        (dict(lam=0.0), "lam: got 0.0"),
        (dict(lam=-1), "lam: got -1"),
        (dict(cg_steps=-1), "cg_steps: got -1"),
        (dict(damping=-1.0), "damping: got -1.0"),
        (dict(steps=-2), "steps: got -2"),
    ],
)
def test_refuses(options, field):
    options = dict(steps=1, lam=1.0) | options
    with pytest.raises(ValueError, match=field):
        proximal_minimum(
            half_square, jnp.array(THETA), optax.sgd(0.1), SUPPORT, **options
        )
