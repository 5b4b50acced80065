"""What is added to a frozen network: nothing at the start, little memory, right gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.test_util import check_grads

import jaxmeta as jm
from jaxmeta import models
from jaxmeta.tree import leaves
from tests.learners.family import begin, task

KEY = jax.random.key(0)
X = jax.random.normal(jax.random.key(1), (3, 6, 6, 2))
NET = models.conv4(2, filters=3, blocks=1, norm="batch_running")


class Own(nnx.Module):
    """Flax's own layers: with a stride, with a bias, in groups, and a kernel of its own."""

    def __init__(self, rngs):
        window = dict(kernel_size=(3, 3), rngs=rngs)
        self.conv = nnx.Conv(2, 4, strides=2, **window)
        self.groups = nnx.Conv(4, 4, feature_group_count=4, **window)
        self.head = nnx.Linear(4, 2, rngs=rngs)
        self.kernel = nnx.Param(jnp.eye(2) * 1.5)

    def __call__(self, x):
        x = self.groups(jnp.tanh(self.conv(x)))
        return self.head(x.mean((1, 2))) @ self.kernel[...]


OWN = models.from_nnx(lambda rngs: Own(rngs))
WRAPPERS = {
    "lora": lambda net: models.lora(net, 2),
    "adapter": lambda net: models.adapter(net, 2, activation=None),
    "scale_shift": models.scale_shift,
    "ssf": lambda net: models.scale_shift(net, scale="output"),
    "bias_only": models.bias_only,
    "frozen": lambda net: models.frozen(net, lambda path: not path.startswith("head")),
}


def shaken(meta):
    names, treedef = jax.tree.flatten(meta.params)
    keys = jax.random.split(jax.random.key(7), len(names))
    pairs = zip(keys, names, strict=True)
    moved = [x + 0.3 * jax.random.normal(k, x.shape) for k, x in pairs]
    return meta._replace(params=treedef.unflatten(moved))


@pytest.mark.parametrize("net", [NET, OWN], ids=["own", "flax"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_it_starts_as_the_network_and_merges_into_one(name, net):
    model = WRAPPERS[name](net)
    meta = model.init(KEY, X)
    base = net.init(KEY, X)
    expected = net.apply(base, X)[0]
    train = name != "frozen"  # a head that learns is in training, and has no norm here
    outputs, buffers = model.apply(meta, X, train=train)
    np.testing.assert_array_equal(outputs, expected)
    same = jax.tree.map(lambda a, b: a is b, buffers, meta.buffers)
    assert all(leaves(same))
    meta = shaken(meta)
    moved = model.apply(meta, X)[0]
    assert np.abs(moved - expected).max() > 1e-2
    whole, found = models.merged(model, meta)
    assert whole is net and jax.tree.map(jnp.shape, found) == jax.tree.map(
        jnp.shape, base
    )
    np.testing.assert_allclose(net.apply(found, X)[0], moved, rtol=2e-5, atol=2e-6)


def test_low_rank_by_its_equation(x64):
    net = models.mlp(2, hidden=(3,), activation=jnp.tanh)
    model = models.lora(net, 2, alpha=3.0, where=lambda path: "layer1" in path)
    x = jax.random.normal(KEY, (4, 5))
    meta = shaken(model.init(KEY, x))
    w = meta.buffers["params"]
    (a,), (b,) = (list(meta.params[k].values()) for k in ("down", "up"))
    assert a.shape == (5, 2) and b.shape == (2, 3)
    h = np.tanh(x @ (w["layer1"]["kernel"] + 1.5 * a @ b) + w["layer1"]["bias"])
    expected = h @ w["head"]["kernel"] + w["head"]["bias"]
    np.testing.assert_allclose(model.apply(meta, x)[0], expected, rtol=1e-12)


def test_an_adapter_looks_at_the_pixel_in_the_middle(x64):
    net = models.conv4(None, filters=3, blocks=1, norm=None, flatten=False, pools=0)
    model = models.adapter(net, 2, activation=jnp.tanh)
    x = jax.random.normal(KEY, (2, 4, 4, 2))
    meta = shaken(model.init(KEY, x))
    (a,), (b,) = (list(meta.params[k].values()) for k in ("down", "up"))
    old = meta.buffers["params"]["block1"]["conv"]
    maps = jax.lax.conv_general_dilated(
        x, old["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    expected = np.maximum(maps + np.tanh(x @ a) @ b + old["bias"], 0)
    np.testing.assert_allclose(
        model.apply(meta, x)[0], expected, rtol=1e-10, atol=1e-12
    )
    with pytest.raises(TypeError, match="activation=None"):
        models.merged(model, meta)
    with pytest.raises(ValueError, match="model: wants kernels"):  # one channel
        models.adapter(net, 2).init(KEY, x[..., :1])


def thin(name):
    body = models.mlp(None, hidden=(3,), activation=jnp.tanh)
    if name == "adapter":
        body = models.adapter(body, 1, activation=jnp.tanh)
    else:
        body = WRAPPERS[name](body)
    return models.with_head(body, models.linear_head(2))


@pytest.mark.parametrize("name", ["lora", "adapter", "ssf"])
def test_second_order_by_finite_differences(name, x64):
    learner, episode = jm.maml(thin(name), optax.sgd(0.5), steps=2), task()
    meta = begin(learner, episode)
    loss = jax.jit(lambda p: learner.loss(meta._replace(params=p), episode, KEY)[0])
    check_grads(loss, (meta.params,), 1, modes=["rev"])


def outer_step(net, tasks, rows, features, chunk):
    """An outer step of MAML, and the shapes of its arguments."""
    batch = jm.Batch(jnp.zeros((tasks, rows, features)), jnp.zeros((tasks, rows, 2)))
    episodes = jm.Episode(batch, batch)
    objective = jm.episodic(jm.maml(net, optax.sgd(0.1), steps=1), chunk=chunk)
    trainer = jm.make_trainer(objective, optax.sgd(0.1))
    return trainer, jax.eval_shape(trainer.init, KEY, episodes), episodes


@pytest.mark.optimised
def test_tasks_share_the_network():
    """32 tasks take the room of one network, not of 32."""

    def room(body):
        net = models.with_head(body, models.linear_head(2))
        trainer, state, episodes = outer_step(net, 32, 2, 256, 32)
        compiled = jax.jit(trainer.step).lower(state, episodes, KEY).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    body = models.mlp(None, hidden=(256,))
    kernel = 4 * 256 * 256
    assert room(body) > 32 * kernel
    assert room(models.lora(body, 1)) < 8 * kernel


@pytest.mark.parametrize("chunk", [1, 3])
def test_no_outer_step_moves_the_frozen_network_by_a_bit(chunk):
    """A mean over three tasks of what is the same in all of them is rounded."""
    trainer, state, episodes = outer_step(thin("lora"), 3, 2, 4, chunk)
    random = np.random.default_rng(0)
    state = jax.tree.map(lambda x: random.normal(size=x.shape).astype(x.dtype), state)
    after = jax.jit(trainer.step)(state, episodes, KEY)[0].meta
    for a, b in zip(leaves(state.meta.buffers), leaves(after.buffers), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_it_cannot_do_is_said():
    x = jnp.ones((1, 3))
    with pytest.raises(ValueError, match="rank: got 0"):
        models.lora(NET, 0)
    with pytest.raises(ValueError, match="alpha: got 0"):
        models.lora(NET, alpha=0)
    with pytest.raises(ValueError, match="width: got 0"):
        models.adapter(NET, 0)
    with pytest.raises(ValueError, match="scale: got 'all'"):
        models.scale_shift(NET, scale="all")
    bare = models.cosine_head(2)
    with pytest.raises(ValueError, match="model: wants biases"):
        models.bias_only(bare).init(KEY, x)
    with pytest.raises(TypeError, match="nothing to merge"):
        models.merged(NET, NET.init(KEY, X))
