"""CAVIA: the context moves, from zero, and nothing else does."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from tests.learners.family import KEY, begin, net, same, task, value_and_grad, wide

pytestmark = pytest.mark.usefixtures("x64")

sgd = optax.sgd(1.0)


def test_one_step_on_appended_context_by_hand():
    learner = jm.cavia(net(), sgd, context=2, steps=1)
    meta, (support, query) = begin(learner), task()
    assert meta.params["layer1"]["kernel"].shape == (2 + 2, 3)

    def loss(phi, params, batch):
        x = jnp.concatenate([batch.inputs, jnp.tile(phi, (len(batch.inputs), 1))], 1)
        h = jnp.tanh(x @ params["layer1"]["kernel"] + params["layer1"]["bias"])
        z = h @ params["head"]["kernel"] + params["head"]["bias"]
        return -jnp.mean(jnp.sum(batch.targets * jax.nn.log_softmax(z), -1))

    def outer(params):
        phi = -jax.grad(loss)(jnp.zeros(2), params, support)
        return loss(phi, params, query)

    same(value_and_grad(learner, meta), jax.value_and_grad(outer)(meta.params))
    # the adapted state is the context alone: shared parameters cannot have moved
    fast = learner.adapt(meta, support, KEY)
    same(fast, -jax.grad(loss)(jnp.zeros(2), meta.params, support))


def test_film_scales_and_shifts_the_layer():
    learner = jm.cavia(net(), sgd, context=2, film="layer1", steps=1)
    meta, x = begin(learner), task().query.inputs
    phi = jnp.array([0.7, -0.4])
    layer, head = meta.params["net"]["layer1"], meta.params["net"]["head"]
    maps = meta.params["film"]
    h = x @ layer["kernel"] + layer["bias"]
    h = jnp.tanh((1 + phi @ maps["gamma"]) * h + phi @ maps["beta"])
    expected = h @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(learner.predict(meta, phi, x), expected, rtol=1e-12)


def images():
    batch = jm.Batch(jax.random.normal(KEY, (2, 4, 4, 1)), jnp.eye(2))
    return jm.Episode(batch, batch)


def test_film_at_zero_is_the_network():
    model = jm.models.conv4(2, filters=2, blocks=1)
    learner = jm.cavia(model, sgd, context=3, film="block1/norm", steps=1)
    episode = images()
    meta = learner.init(jax.random.key(1), episode)
    assert meta.params["film"]["gamma"].shape == (3, 2)

    def both(meta, x):
        plain, _ = model.apply(jm.Meta(meta.params["net"]), x)
        return plain, learner.predict(meta, jnp.zeros(3), x)

    np.testing.assert_array_equal(*jax.jit(both)(wide(meta), episode.query.inputs))


def test_context_becomes_constant_channels_of_an_image():
    model = jm.models.conv4(2, filters=2, blocks=1)
    learner = jm.cavia(model, sgd, context=3, steps=1)
    episode = images()
    meta = jax.eval_shape(learner.init, jax.random.key(1), episode)
    assert meta.params["block1"]["conv"]["kernel"].shape == (3, 3, 1 + 3, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(context=0), "context: got 0, wants an integer >= 1"),
        (dict(film="block9"), "film: got 'block9', wants the path of a layer"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        jm.cavia(net(), sgd, **options).init(KEY, task())
