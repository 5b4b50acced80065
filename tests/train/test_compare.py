"""Gradient estimators on one problem, and evolution strategies against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from tests.learners.quadratic import W, episode, half_square, model

pytestmark = pytest.mark.usefixtures("x64")


def quartic(w):
    return jnp.sum(w**4)


def test_antithetic_closed_form():
    """Central differences of w^4 along e: sum 4 w^3 e + 4 sigma^2 w e^3."""
    w, sigma = np.array([0.5, -1.0, 2.0]), 0.3
    directions = np.array([[1.0, 2, 0], [0, -1, 1], [2, 0, 1]])
    slopes = [np.sum(4 * w**3 * e + 4 * sigma**2 * w * e**3) for e in directions]
    want = np.mean([s * e for s, e in zip(slopes, directions, strict=True)], 0)
    got = jm.train.antithetic(quartic, jnp.array(w), directions, sigma=sigma, chunk=2)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_evolution_is_the_gradient_of_the_smoothed_loss():
    """E sum (w + s e)^4 has gradient 4 w^3 + 12 s^2 w; within 5 standard errors."""
    w, sigma, pairs = np.array([0.5, -1.0, 2.0]), 0.5, 20_000
    base = jm.MetaLearner(
        init=lambda key, episode: jm.Meta(jnp.array(w)),
        adapt=lambda meta, support, key: (),
        predict=lambda meta, fast, inputs: inputs,
        loss=lambda meta, episode, key: (quartic(meta.params), jm.Aux({})),
    )
    learner = jm.train.evolution_strategies(base, sigma=sigma, pairs=pairs, chunk=1000)

    def run(key):
        value = lambda w: learner.loss(jm.Meta(w), None, key)[0]  # noqa: E731
        return jax.value_and_grad(value)(jnp.array(w))

    keys = jax.random.split(jax.random.key(0), 10)
    values, grads = jax.jit(lambda keys: jax.lax.map(run, keys))(keys)
    np.testing.assert_allclose(values, np.sum(w**4), rtol=1e-14)
    error = np.std(grads, 0, ddof=1) / np.sqrt(10)
    want = 4 * w**3 + 12 * sigma**2 * w
    assert np.all(np.abs(grads.mean(0) - want) < 5 * error)
    # and the error is small enough to tell the smoothed gradient from the plain one
    assert np.all(np.abs(12 * sigma**2 * w) > 10 * error)


@pytest.fixture(scope="module")
def report():
    with jax.enable_x64(True):
        learners = jm.train.estimators(
            model(), optax.sgd(0.01), steps=5, truncate=2, pairs=512, sigma=0.1,
            lam=20.0, criterion=half_square,
        )  # fmt: skip
        meta = jm.Meta(jnp.array(W, jnp.float64))
        task = episode([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
        episodes = jax.tree.map(lambda x: x[None], task)
        compare = jax.jit(
            lambda meta: jm.train.compare_estimators(
                learners, meta, episodes, jax.random.key(0)
            )
        )
        return compare(meta)


def agreement(estimate, exact):
    estimate, exact = np.array(estimate), np.array(exact)
    norm, size = np.linalg.norm(estimate), np.linalg.norm(exact)
    return estimate @ exact / norm / size, np.linalg.norm(estimate - exact) / size, norm


def test_compared_with_the_closed_forms(report):
    """Support x, query q: phi_5 = P^5 w, P = I - 0.01 x x^T; T exact factors P^T q."""
    x, q, w = np.array([1.0, 2, 3]), np.array([4.0, 5, 6]), np.array(W)
    p = np.eye(3) - 0.01 * np.outer(x, x)
    phi = np.linalg.matrix_power(p, 5) @ w
    first = (phi @ q) * q
    exact = np.linalg.matrix_power(p, 5) @ first
    near = np.eye(3) + np.outer(x, x) / 20  # of the proximal problem, lam = 20
    walked = w.copy()
    for _ in range(5):
        walked = walked - 0.01 * ((walked @ x) * x + 20 * (walked - w))
    by_hand = {
        "unrolled": exact,
        "truncated": p @ p @ first,
        "first_order": first,
        "implicit": np.linalg.solve(near, (walked @ q) * q),
        "reptile": w - phi,
    }
    for name, estimate in by_hand.items():
        np.testing.assert_allclose(report[name], agreement(estimate, exact), rtol=1e-9,
                                   atol=1e-14)  # fmt: skip
    # three parameters and 512 pairs: an error near sqrt(4 / 512)
    assert report["evolution"].cosine > 0.98
    assert 0 < report["evolution"].relative_error < 0.3


def test_the_table(report):
    lines = jm.train.agreement_table(report).splitlines()
    assert len(lines) == 7 and len({len(line) for line in lines}) == 1
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    assert rows["unrolled"] == [
        "1.00000",
        "0.000e+00",
        f"{report['unrolled'].norm:.3e}",
    ]


def test_evolution_needs_no_derivative_and_reports_the_metrics():
    """A loss with a jump has no useful gradient; its smoothed version has."""
    base = jm.maml(model(), optax.sgd(0.01), steps=1, criterion=half_square)

    def stepped(meta, task, key):
        value, aux = base.loss(meta, task, key)
        return jnp.floor(value), aux

    learner = jm.train.evolution_strategies(
        base._replace(loss=stepped), sigma=1.0, pairs=8
    )
    task = jax.tree.map(lambda x: x[None], episode([1.0, 2, 3], [4.0, 5, 6]))
    grads, metrics = jm.meta_gradient(
        learner, jm.Meta(jnp.array(W)), task, jax.random.key(0)
    )
    assert np.all(grads != 0) and "loss" in metrics and len(metrics) > 1


@pytest.mark.parametrize("field", ["sigma", "pairs", "chunk"])
def test_refuses(field, report):
    base = jm.maml(model(), optax.sgd(0.01))
    with pytest.raises(ValueError, match=f"{field}: got 0"):
        jm.train.evolution_strategies(base, **{field: 0})
    with pytest.raises(ValueError, match="exact: got 'none', wants one of maml"):
        jm.train.compare_estimators(
            {"maml": base}, None, None, jax.random.key(0), exact="none"
        )
