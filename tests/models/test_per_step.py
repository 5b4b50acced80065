"""A copy of the norm for every inner step, in a network and in an inner loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.models.per_step import gather

pytestmark = pytest.mark.usefixtures("x64")

KEEP = 0.9  # momentum of the running averages


def toy() -> jm.Model:
    """y = scale (x - mean), with the running mean of the batches for a buffer."""

    def apply(meta, inputs, *, train=False, key=None):
        mean = inputs.mean(0) if train else meta.buffers["mean"]
        new = KEEP * meta.buffers["mean"] + (1 - KEEP) * jax.lax.stop_gradient(mean)
        y = (inputs - mean) * meta.params["norm"]["scale"] @ meta.params["w"]
        return y, {"mean": new if train else meta.buffers["mean"]}

    def init(key, inputs):
        d = inputs.shape[1]
        params = {"norm": {"scale": jnp.ones(d)}, "w": jnp.ones((d, 1))}
        return jm.Meta(params, {"mean": jnp.zeros(d)})

    return jm.Model(init, apply)


X = np.array([[1.0, 2.0], [3.0, 8.0]])


def test_each_step_has_its_own_copy():
    model = jm.models.per_step(toy(), 3)
    meta = model.init(jax.random.key(0), X)
    assert jax.tree.map(jnp.shape, meta) == jm.Meta(
        {"norm": {"scale": (3, 2)}, "w": (2, 1)}, {"mean": (3, 2)}
    )
    scale = jnp.array([[1.0, 1.0], [0.0, 1.0], [5.0, 0.0]])
    meta.params["norm"]["scale"] = scale
    for step, row in ((0, 0), (1, 1), (2, 2), (7, 2), (-1, 0), (None, 2)):
        y, buffers = model.apply(meta, X, train=True, step=step)
        np.testing.assert_allclose(y[:, 0], (X - X.mean(0)) @ scale[row], rtol=1e-15)
        expected = np.zeros((3, 2))
        expected[row] = 0.1 * X.mean(0)
        np.testing.assert_allclose(buffers["mean"], expected, rtol=1e-14)


def test_the_inner_loop_uses_and_fills_every_copy():
    """Step k reads scale k; the statistics of copy k are those of the k-th query pass."""
    rates = jm.rules.lslr(0.1, steps=2)
    learner = jm.maml(
        jm.models.per_step(toy(), 2), rates, steps=2,
        adapt_only=lambda path: path == "w", criterion=jm.criteria.regression,
    )  # fmt: skip
    support = jm.Batch(jnp.array(X), jnp.array([[1.0], [-2.0]]))
    query = jm.Batch(jnp.array(X[::-1] + 1), jnp.array([[0.5], [1.0]]))
    meta = learner.init(jax.random.key(0), jm.Episode(support, query))
    scale = jnp.array([[1.0, 0.5], [0.3, 2.0]])
    meta.params["model"]["norm"]["scale"] = scale

    def loss(w, scale, batch):
        x = batch.inputs - batch.inputs.mean(0)
        return jnp.mean((x * scale @ w - batch.targets) ** 2)

    def outer(scale):
        w = jnp.ones((2, 1))
        for k in range(2):
            w = w - 0.1 * jax.grad(loss)(w, scale[k], support)
        return loss(w, scale[1], query)

    def ours(params):
        return learner.loss(
            meta._replace(params=params), jm.Episode(support, query), KEY
        )

    (value, aux), grads = jax.value_and_grad(ours, has_aux=True)(meta.params)
    expected, slope = jax.value_and_grad(outer)(scale)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    np.testing.assert_allclose(grads["model"]["norm"]["scale"], slope, rtol=1e-12)
    mean = np.tile(0.1 * (X.mean(0) + 1), (2, 1))
    np.testing.assert_allclose(aux.buffers["mean"], mean, rtol=1e-13)


KEY = jax.random.key(0)


def test_more_passes_than_copies_are_refused():
    with pytest.raises(
        ValueError, match="steps: got 3 inner steps in training, wants at"
    ):
        gather(jnp.zeros(2), jnp.zeros((3, 2)))


def test_maml_plus_plus_keeps_norms_out_of_the_inner_loop():
    model = jm.models.conv4(2, filters=2, blocks=1, norm="batch_running")
    learner = jm.maml_plus_plus(model, steps=2)
    images = jm.Batch(jnp.zeros((2, 4, 4, 1)), jnp.eye(2))
    episode = jm.Episode(images, images)
    meta = jax.eval_shape(learner.init, KEY, episode)
    assert meta.params["model"]["block1"]["norm"]["scale"].shape == (2, 2)
    assert meta.params["rule"]["block1"]["norm"] == {"bias": None, "scale": None}
    assert meta.params["rule"]["block1"]["conv"]["kernel"].shape == (2,)
    stats = meta.buffers["model"]["block1"]["norm"]
    assert {name: x.shape for name, x in stats.items()} == {
        "mean": (2, 2), "var": (2, 2),
    }  # fmt: skip
    _, aux = jax.eval_shape(learner.loss, meta, episode, KEY)
    assert jax.tree.structure(aux.buffers) == jax.tree.structure(meta.buffers)


def test_steps_are_checked():
    with pytest.raises(ValueError, match="steps: got 0"):
        jm.models.per_step(toy(), 0)
