"""Half precision: what is low, what is not, and how far the gradient moves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.convolution import batch_norm


@pytest.fixture(scope="module")
def task():
    one = jax.random.split(jax.random.key(0), 2)
    x = jax.random.normal(one[0], (6, 8, 8, 1))
    batch = jm.Batch(x, jax.nn.one_hot(jnp.arange(6) % 3, 3))
    return jm.Episode(batch, batch)


def test_operands_are_half_and_statistics_are_not(task):
    seen = []

    def apply(meta, inputs, *, train=False, key=None):
        seen.append((inputs.dtype, jax.tree.leaves(meta.params)[0].dtype))
        return net.apply(meta, inputs, train=train, key=key)

    net = jm.models.conv4(3, filters=8, blocks=1, norm="batch_running")
    model = jm.models.half_precision(net._replace(apply=apply))
    meta = model.init(jax.random.key(1), task.support.inputs)
    outputs, buffers = model.apply(meta, task.support.inputs, train=True)
    assert seen == [(jnp.bfloat16, jnp.bfloat16)]
    kept = {x.dtype for x in jax.tree.leaves((meta, buffers, outputs))}
    assert kept == {jnp.dtype("float32")}


def test_sums_of_a_norm_are_float32():
    # 4096 ones and a half: bfloat16 sums stop growing at 256
    x = jnp.ones((4096, 1), jnp.bfloat16) * 1.5
    _, mean, var = batch_norm(x, jnp.ones(1), jnp.zeros(1))
    assert mean.dtype == jnp.float32
    np.testing.assert_allclose(mean, 1.5, rtol=1e-6)
    np.testing.assert_allclose(var, 0.0, atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_meta_gradient_is_near_that_of_float32(task, norm):
    net = jm.models.conv4(3, filters=8, blocks=1, norm=norm)
    episodes = jax.tree.map(lambda x: x[None], task)

    def gradient(model):
        learner = jm.maml(model, optax.sgd(0.1), steps=1)
        meta = learner.init(jax.random.key(1), task)
        grads, _ = jm.meta_gradient(learner, meta, episodes, jax.random.key(2))
        return grads

    full, half = gradient(net), gradient(jm.models.half_precision(net))
    assert {x.dtype for x in jax.tree.leaves(half)} == {jnp.dtype("float32")}
    a, b = (
        jnp.concatenate([x.ravel() for x in jax.tree.leaves(g)]) for g in (full, half)
    )
    cosine = a @ b / jnp.linalg.norm(a) / jnp.linalg.norm(b)
    assert cosine > 0.995
    assert cosine < 1  # something was rounded


def test_a_type_that_is_no_number_with_a_fraction_is_refused():
    with pytest.raises(ValueError, match="dtype: got int32, wants a floating type"):
        jm.models.half_precision(jm.models.mlp(2), jnp.int32)
