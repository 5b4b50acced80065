"""Relation networks: sums over shots, scores of pairs, squared error over all pairs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.learners.relation_network import relate
from jaxmeta.models.relation import AllPairs
from tests.learners.embedded import linear, predict, ready

pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture(scope="module")
def maps():
    """A learner on feature maps, without batch statistics."""
    with jax.enable_x64(True):
        model = jm.models.conv4(
            None, filters=8, blocks=2, pools=1, valid=1, flatten=False, norm=None
        )
        g = jm.models.relation(filters=8, norm="group")
        learner = jm.relation_network(model, relation=g)
        keys = jax.random.split(jax.random.key(0), 3)
        targets = jnp.repeat(jnp.eye(3), 2, axis=0)
        support = jm.Batch(jax.random.normal(keys[0], (6, 10, 10, 1)), targets)
        query = jm.Batch(jax.random.normal(keys[1], (6, 10, 10, 1)), targets)
        task = jm.Episode(support, query)
        return model, g, learner, learner.init(keys[2], task), task


def test_scores_are_those_of_one_pair_at_a_time(maps):
    model, g, learner, meta, task = maps
    out = predict(learner, meta, task)
    assert out.shape == (6, 3) and np.all((out > 0) & (out < 1))
    f = [
        model.apply(jm.Meta(meta.params["model"]), b.inputs)[0]
        for b in (task.support, task.query)
    ]
    assert f[0].shape == (6, 4, 4, 8)  # 10 -> 8 without padding -> 4 pooled -> 4
    sums = f[0][0::2] + f[0][1::2]  # the sum over the two shots of a class
    fast = learner.adapt(meta, task.support, jax.random.key(0))
    np.testing.assert_allclose(fast.sums, sums, rtol=1e-12)
    for q, c in ((0, 0), (2, 1), (5, 2)):
        pair = jnp.concatenate([sums[c], f[1][q]], -1)[None]
        z = g.apply(jm.Meta(meta.params["relation"]), pair)[0][0]
        np.testing.assert_allclose(out[q, c], 1 / (1 + np.exp(-z)), rtol=1e-12)


@pytest.mark.parametrize("shape", [(2, 3, 6), (7,)], ids=["maps", "vectors"])
def test_all_pairs_at_once_are_the_pairs(shape):
    """Halves that meet after the first layer: the same scores and the same gradients."""
    g = jm.models.relation(filters=4, norm=None)  # then convolutions have biases
    one_by_one = jm.Model(*g)  # any network of pairs is given them put together
    keys = jax.random.split(jax.random.key(0), 4)
    sums = jax.random.normal(keys[0], (3, *shape))
    maps = jax.random.normal(keys[1], (5, *shape))
    pair = jnp.concatenate([sums[:1], maps[:1]], -1)
    meta = g.init(keys[2], pair)
    assert jax.tree.map(jnp.shape, g.init(keys[2], AllPairs(sums, maps))) == (
        jax.tree.map(jnp.shape, meta)
    )
    away = jax.tree.map(lambda x: x + 0.1, meta.params)  # biases are not 0

    def total(params, sums, maps, model):
        meta = jm.Meta(params)
        z, _ = relate(model, meta, sums, maps, train=True, key=None)
        assert z.shape == (5, 3)
        return jnp.sum(jnp.sin(z) * jax.random.normal(keys[3], z.shape)), z

    slopes = jax.jit(
        jax.value_and_grad(total, (0, 1, 2), has_aux=True), static_argnums=3
    )
    found, expected = (slopes(away, sums, maps, model) for model in (g, one_by_one))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12),
        found,
        expected,
    )


def test_halves_meet_after_the_first_layer():
    """No array holds the pairs put together, which is what the first layer would cost."""
    g = jm.models.relation(filters=8)
    sums, maps = jnp.zeros((3, 5, 5, 16)), jnp.zeros((7, 5, 5, 16))
    meta = g.init(jax.random.key(0), AllPairs(sums, maps))

    def shapes(model):
        program = jax.make_jaxpr(
            lambda: relate(model, meta, sums, maps, train=True, key=None)[0]
        )()
        return str(program)

    assert "[21,5,5,32]" in shapes(jm.Model(*g))
    assert "[21,5,5,32]" not in shapes(g)


def test_loss_is_the_mean_over_all_pairs(maps):
    *_, learner, meta, task = maps
    value, aux = jax.jit(learner.loss)(meta, task, jax.random.key(0))
    out = np.asarray(predict(learner, meta, task))
    np.testing.assert_allclose(
        value, np.mean((out - np.asarray(task.query.targets)) ** 2), rtol=1e-12
    )
    assert set(aux.metrics) == {"accuracy"}


def test_sum_not_mean():
    learner = jm.relation_network(linear())
    meta, task = ready(learner)
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x]), task.support)
    key = jax.random.key(0)
    once = learner.adapt(meta, task.support, key)
    np.testing.assert_allclose(learner.adapt(meta, twice, key).sums, 2 * once.sums)


def test_published_sizes():
    """64 maps of 5x5 for 28x28 images, of 19x19 for 84x84, and one 64-8-1 module."""
    model = jm.models.conv4(None, flatten=False, pools=2, valid=2)
    learner = jm.relation_network(model)
    for side, maps in ((28, 5), (84, 19)):
        images = jax.ShapeDtypeStruct((5, side, side, 1), jnp.float64)
        targets = jax.ShapeDtypeStruct((5, 5), jnp.float64)
        task = jm.Episode(jm.Batch(images, targets), jm.Batch(images, targets))
        meta = jax.eval_shape(learner.init, jax.random.key(0), task)
        fast = jax.eval_shape(learner.adapt, meta, task.support, jax.random.key(0))
        assert fast.sums.shape == (5, maps, maps, 64)
        pooled = maps // 2 // 2
        shape = meta.params["relation"]["hidden"]["kernel"].shape
        assert shape == (64 * pooled**2, 8)


def test_flat_maps_have_no_head():
    with pytest.raises(ValueError, match="flatten: got False with ways=5"):
        jm.models.conv4(5, flatten=False)
    with pytest.raises(ValueError, match="valid: got 1"):
        jm.models.conv4(None, downsample="stride", valid=1)
    with pytest.raises(ValueError, match="hidden: got 0"):
        jm.models.relation(hidden=0)
    g, half = jm.models.relation(), jnp.zeros((2, 3, 4))
    for inputs in (jnp.zeros(3), half, AllPairs(half, half)):
        with pytest.raises(ValueError, match=r"inputs: wants pairs of maps"):
            g.init(jax.random.key(0), inputs)
