"""Ways to differentiate one problem, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.gradients import evolution, first_order, implicit, unrolled
from tests.learners.quadratic import W, episode, half_square, model

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def report():
    with jax.enable_x64(True):
        meta = jm.Meta(jnp.array(W, jnp.float64))
        task = episode([1.0, 2.0, 3.0], [4.0, 5.0, 6.0])
        episodes = jax.tree.map(lambda x: x[None], task)
        key, common = jax.random.key(0), dict(steps=5, criterion=half_square)
        inner = optax.sgd(0.01)

        def build(gradient):
            return jm.maml(model(), inner, gradient=gradient, **common)

        def near(gradient):
            return jm.imaml(model(), inner, lam=20.0, gradient=gradient, **common)

        def compare(meta):
            found = jm.train.compare_gradients(
                build,
                {
                    "unrolled": unrolled(),
                    "truncated": unrolled(last=2),
                    "first_order": first_order,
                    "evolution": evolution(sigma=0.1, pairs=512),
                },
                meta,
                episodes,
                key,
            )
            ways = {"implicit": implicit(), "path": unrolled()}
            return found | jm.train.compare_gradients(near, ways, meta, episodes, key)

        return jax.jit(compare)(meta)


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
    }
    for name, estimate in by_hand.items():
        np.testing.assert_allclose(report[name], agreement(estimate, exact), rtol=1e-9,
                                   atol=1e-14)  # fmt: skip
    # the proximal problem has another exact gradient: through the path to its minimum
    step = np.eye(3) - 0.01 * (np.outer(x, x) + 20 * np.eye(3))
    path = np.eye(3)
    for _ in range(5):
        path = step @ path + 0.01 * 20 * np.eye(3)
    g = (walked @ q) * q
    np.testing.assert_allclose(
        report["implicit"], agreement(np.linalg.solve(near, g), path @ g), rtol=1e-9
    )
    want = (1.0, 0.0, np.linalg.norm(path @ g))
    np.testing.assert_allclose(report["path"], want, atol=1e-13, rtol=1e-9)
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
