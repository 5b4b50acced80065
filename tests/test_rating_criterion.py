"""nDCG against scikit-learn, which averages over ties too; stars as a criterion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from jaxmeta import criteria, metrics
from jaxmeta.models import columns

ndcg = jax.jit(metrics.ndcg, static_argnames="at")


@pytest.mark.parametrize("at", [1, 5, 30])
def test_ndcg_is_that_of_scikit_learn(at):
    random = np.random.default_rng(at)
    for _ in range(8):
        stars = random.integers(1, 6, 12).astype("float32")
        said = random.integers(0, 4, 12).astype("float32")  # many ties
        wants = ndcg_score([2**stars - 1], [said], k=at)
        assert float(ndcg(said, stars, at=at)) == pytest.approx(wants, abs=1e-6)
        # rows of weight 0 are not in the list, whatever they hold
        padded = np.concatenate([said, [9, np.nan, -1]]).astype("float32")
        truth = np.concatenate([stars, [5, 5, np.nan]]).astype("float32")
        weights = np.r_[np.ones(12), np.zeros(3)].astype("float32")
        order = random.permutation(15)
        found = ndcg(padded[order], truth[order], weights[order], at=at)
        assert float(found) == pytest.approx(wants, abs=1e-6)


def test_a_constant_is_a_shuffled_list():
    stars = np.array([5.0, 3.0, 1.0, 4.0])
    gains, discounts = 2**stars - 1, np.array([1, 1 / np.log2(3)])
    best = np.sort(gains)[::-1][:2] @ discounts
    found = float(ndcg(jnp.zeros(4), jnp.asarray(stars), at=2))
    assert found == pytest.approx(gains.mean() * discounts.sum() / best, abs=1e-6)


def test_what_is_no_score():
    assert np.isnan(ndcg(jnp.array([jnp.nan, 1.0]), jnp.array([1.0, 2.0])))
    assert float(ndcg(jnp.array([1.0, 2.0]), jnp.zeros(2))) == 1
    with pytest.raises(ValueError, match="wants one number a row"):
        metrics.ndcg(jnp.zeros((3, 2)), jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="at: got 0"):
        criteria.rating(at=0)


def test_stars_are_judged_by_their_root_mean_square():
    criterion = criteria.rating()
    said, stars = jnp.array([[1.0], [2.0], [7.0]]), jnp.array([[2.0], [4.0], [0.0]])
    found = criterion.metrics(said, stars, jnp.array([1.0, 1.0, 0.0]))
    assert list(found) == ["rmse", "ndcg"] and criterion.best == "min"
    assert float(found["rmse"]) == pytest.approx(2.5**0.5)
    assert float(criterion.loss(said, stars, jnp.array([1.0, 1.0, 0.0]))) == 2.5


def test_columns_by_hand():
    """Each code reads its own rows of the one table; the rest passes as it is."""
    model = columns(1, sizes=(3, 2), width=2, hidden=(4,))
    x = jnp.array([[2.0, 0.0, 0.5], [0.0, 1.0, -1.0]])
    meta = model.init(jax.random.key(0), x)
    p = jax.tree.map(np.array, meta.params)
    assert not p["embed_bias"]["embedding"].any()
    p["embed_bias"]["embedding"] += np.arange(5.0)[:, None]
    table = p["embed"]["embedding"]
    assert table.shape == (5, 2)
    h = np.concatenate([table[[2, 0]], table[[3, 4]], x[:, 2:]], 1)
    h = np.maximum(h @ p["layer1"]["kernel"] + p["layer1"]["bias"], 0)
    wants = h @ p["head"]["kernel"] + p["head"]["bias"]
    wants = wants + np.array([[2.0 + 3], [0 + 4]])
    found = model.apply(meta._replace(params=p), x)[0]
    np.testing.assert_allclose(found, wants, rtol=1e-5)
    with pytest.raises(ValueError, match="inputs: got"):
        model.init(jax.random.key(0), jnp.zeros((2, 1)))
    with pytest.raises(ValueError, match="sizes: got"):
        columns(1, sizes=())


def test_a_sum_moves_less_for_few():
    """One example of four: a quarter of the mean's loss; four: the mean's. Padding is none."""
    said, truth = jnp.arange(4.0)[:, None], jnp.zeros((4, 1))
    plain, criterion = criteria.regression, criteria.summed(criteria.regression, 4)
    assert float(criterion.loss(said, truth, None)) == float(
        plain.loss(said, truth, None)
    )
    one = jnp.array([0.0, 0.0, 0.0, 1.0])
    assert float(criterion.loss(said, truth, one)) == 9 / 4
    assert criterion.metrics is plain.metrics and criterion.best == "min"
    with pytest.raises(ValueError, match="full: got 0"):
        criteria.summed(plain, 0)
