"""Small versions of `benchmarks/reweighting.py`, on two clouds of points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm

r = pytest.importorskip("benchmarks.reweighting", reason="benchmarks/ is not here")
NET = jm.models.mlp(2, hidden=())


def clouds(counts, seed):
    """So many rows of each class, one standard deviation from the border between them."""
    draw = np.random.default_rng(seed)
    y = np.repeat([0, 1], counts)
    return jnp.asarray(
        draw.normal(size=(len(y), 4)) + (2 * y - 1)[:, None] * 0.5
    ), jnp.asarray(y)


@pytest.fixture(scope="module")
def start():
    return NET.init(jax.random.key(0), jnp.zeros((1, 4))).params


@jax.jit
def reweight(start, batch, clean):
    return r.reweight(NET, (), start, batch, clean, 0.1)[0]


def test_weights_are_the_rectified_products_of_gradients(start):
    """One step moves theta by -rate eps_i g_i, so that the slope is -rate g_i . G."""
    batch, clean = clouds((5, 7), 1), clouds((3, 3), 2)

    def slope(x, y):
        grad = jax.grad(lambda p: jnp.mean(r.errors(NET, p, x, y)))(start)
        return jax.flatten_util.ravel_pytree(grad)[0]

    each = jax.jit(jax.vmap(lambda x, y: slope(x[None], y[None])))(*batch)
    wanted = jnp.maximum(each @ slope(*clean), 0)
    weights = reweight(start, batch, clean)
    np.testing.assert_allclose(weights, wanted / wanted.sum(), rtol=1e-4, atol=1e-6)
    assert 0 < int((weights == 0).sum()) < len(weights)


def test_no_useful_example_is_no_weight_at_all(start):
    x, y = clean = clouds((3, 3), 2)
    weights = reweight(start, (x * 0, y * 0), (x * 0, y * 0 + 1))
    np.testing.assert_array_equal(weights, 0)
    weights = reweight(start, clean, clean)
    np.testing.assert_allclose(weights.sum(), 1, rtol=1e-5)


def test_a_rare_class_is_learned_where_plain_training_misses_it():
    rows, clean, test = clouds((20, 1980), 3), clouds((5, 5), 4), clouds((500, 500), 5)
    found = {}
    shares = jnp.array([20, 1980]) / 2000
    ways = {
        "plain": (r.plain, ()),
        "reweight": (r.reweight, ()),
        "shares": (r.proportional, 1 / shares),
    }
    for name, (weigh, memory) in ways.items():
        params, _ = r.train(
            rows, clean, memory, 0.3, jax.random.key(0), net=NET, weigh=weigh, steps=200
        )
        found[name] = r.wrong(NET, params, *test)
    assert found["plain"] > 40 and found["reweight"] < 30 and found["shares"] < 22, (
        found
    )


def test_weight_net_learns_to_distrust_what_is_wrong():
    x, y = clouds((1000, 1000), 6)
    wrong = np.random.default_rng(7).random(2000) < 0.4
    rows, clean = (3 * x, jnp.where(wrong, 1 - y, y)), clouds((50, 50), 8)
    memory = theta, _, _ = r.weigher(jax.random.key(0), wait=50)
    params, (learned, _, wait) = r.train(
        rows, (3 * clean[0], clean[1]), memory, 0.1, jax.random.key(0),
        net=NET, weigh=r.weight_net, steps=300,
    )  # fmt: skip
    gap = []
    np.testing.assert_array_equal(r.judge(theta, jnp.array([0.0, 9.0])), 0.5)
    assert wait == 0
    for each in (theta, learned):
        weights = np.asarray(r.judge(each, r.errors(NET, params, *rows)))
        gap.append(weights[~wrong].mean() - weights[wrong].mean())
    assert gap[1] > 0.1 and gap[0] == 0, gap


def test_parts_share_no_digit_and_the_clean_ones_are_among_the_rows():
    n = 14_000
    data = np.arange(n, dtype=np.float32)[:, None], np.where(np.arange(n) % 2, 4, 9)
    rows, clean, valid = (set(part[0][:, 0]) for part in r.imbalanced(data, 200, 0))
    assert len(rows) == 5000 and clean < rows and not rows & valid
    (_, labels), *_ = r.imbalanced(data, 200, 0)
    assert (labels == 0).sum() == 25
    rows, right, clean, valid = r.noisy((data[0], np.arange(n) % 10), 0)
    rows, clean, valid = (set(part[0][:, 0]) for part in (rows, clean, valid))
    assert not rows & clean and not rows & valid and not clean & valid
    assert 0.62 < right.mean() < 0.66  # a tenth of the labels drawn anew is right
