"""Networks: shapes, running averages, dropout, both Flax interfaces."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

import jaxmeta as jm
from jaxmeta.models import layers

KEY = jax.random.key(0)
IMAGES = jax.random.uniform(KEY, (6, 28, 28, 1))
NORMS = ["batch", "batch_running", "group", "layer", None]


@pytest.mark.parametrize("downsample", ["pool", "stride"])
@pytest.mark.parametrize("ways", [None, 5])
def test_conv4_shapes(downsample, ways):
    model = jm.models.conv4(ways, downsample=downsample)
    meta = jax.eval_shape(model.init, KEY, IMAGES)
    outputs, buffers = jax.eval_shape(model.apply, meta, IMAGES)
    assert outputs.shape == (6, ways or 64) and buffers == {}
    sizes = [x.size for x in jax.tree.leaves(meta.params)]
    # three 3x3x64x64 kernels and one 3x3x1x64, scale and offset of four norms, the head
    want = 3 * 9 * 64 * 64 + 9 * 64 + 4 * 2 * 64 + (65 * ways if ways else 0)
    assert sum(sizes) == want


def test_conv4_miniimagenet_features():
    model, images = jm.models.conv4(None, filters=32), jnp.zeros((1, 84, 84, 3))
    meta = jax.eval_shape(model.init, KEY, images)
    assert jax.eval_shape(model.apply, meta, images)[0].shape == (1, 800)


@pytest.mark.parametrize("norm", [*NORMS, "batch_renorm"])
def test_no_bias_before_a_norm(norm):
    model = jm.models.conv4(5, filters=4, norm=norm)
    params = jax.eval_shape(model.init, KEY, IMAGES).params
    assert ("bias" in params["block1"]["conv"]) == (norm is None)


def test_running_averages_follow_the_batches():
    model = jm.models.conv4(None, filters=4, norm="batch_running", blocks=1)
    meta = model.init(KEY, IMAGES)
    inference, same = model.apply(meta, IMAGES)
    jax.tree.map(np.testing.assert_array_equal, same, meta.buffers)
    for _ in range(200):
        _, buffers = model.apply(meta, IMAGES, train=True)
        meta = meta._replace(buffers=buffers)
    trained, _ = model.apply(meta, IMAGES, train=True)
    inference, _ = model.apply(meta, IMAGES)
    np.testing.assert_allclose(inference, trained, atol=1e-4)


def renormed(x, average, spread, scale, bias):
    """Ioffe 2017, algorithm 1, in NumPy; r and d are constants to the gradient."""
    mean, deviation = x.mean(0), np.sqrt(x.var(0) + 1e-5)
    spread = np.sqrt(spread + 1e-5)
    r = np.clip(deviation / spread, 1 / 3, 3)
    d = np.clip((mean - average) / spread, -5, 5)
    return ((x - mean) / deviation * r + d) * scale + bias, r, d


@pytest.mark.parametrize("far", [1.0, 20.0])
def test_batch_renormalisation_by_hand(x64, far):
    draw = np.random.default_rng(0)
    x = draw.normal(1.0, 2.0, (8, 3))
    average, spread = far * draw.random(3), far * (1 + draw.random(3))
    scale, bias = np.array([1.5, -0.5, 2.0]), draw.normal(size=3)
    model = jm.models.from_nnx(lambda rngs: layers.norm_layer("batch_renorm", 3))
    meta = jm.Meta(
        {"scale": jnp.array(scale), "bias": jnp.array(bias)},
        {"mean": jnp.array(average), "var": jnp.array(spread)},
    )

    def run(x):
        return model.apply(meta, x, train=True)

    wanted, r, d = renormed(x, average, spread, scale, bias)
    found, buffers = run(jnp.array(x))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(buffers["mean"], 0.9 * average + 0.1 * x.mean(0))

    def loss(x):
        return jnp.sum(jnp.sin(run(x)[0]))

    def by_hand(x):
        z = (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5)
        return jnp.sum(jnp.sin((z * r + d) * scale + bias))

    found, wanted = (jax.grad(f)(jnp.array(x)) for f in (loss, by_hand))
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_a_renormed_network_is_trained_as_it_is_tested():
    model = jm.models.conv4(None, filters=4, norm="batch_renorm", blocks=2)
    meta = model.init(KEY, IMAGES)
    for _ in range(100):
        _, buffers = model.apply(meta, IMAGES, train=True)
        meta = meta._replace(buffers=buffers)
    some = IMAGES[:2]  # a batch of its own statistics
    trained, _ = model.apply(meta, some, train=True)
    tested, _ = model.apply(meta, some)
    np.testing.assert_allclose(trained, tested, rtol=1e-4, atol=1e-4)


def test_renormalisation_wants_averages():
    with pytest.raises(ValueError, match="running: got False, wants True"):
        layers.BatchNorm(3, running=False, renorm=True)


def adaptation(norm, downsample, last=None):
    """A two-step MAML loss through a small Conv4, and where it is differentiated."""
    model = jm.models.conv4(2, filters=2, blocks=2, norm=norm, downsample=downsample)
    learner = jm.maml(
        model, optax.sgd(0.1), steps=2, gradient=jm.gradients.unrolled(last=last)
    )
    images = jax.random.normal(KEY, (4, 6, 6, 1))
    batch = jm.Batch(images, jax.nn.one_hot(jnp.array([0, 1, 0, 1]), 2, dtype=float))
    episode = jm.Episode(batch, batch._replace(inputs=images[::-1] * 0.7))
    meta = jax.tree.map(lambda x: x.astype(float), learner.init(KEY, episode))

    def loss(params):
        return learner.loss(meta._replace(params=params), episode, KEY)[0]

    return jax.jit(jax.value_and_grad(loss)), meta.params


def finite_difference_error(value_and_grad, gradient, params, step=1e-5):
    """|g . v - (f(p + hv) - f(p - hv)) / 2h| / |g . v| along a random direction v."""
    flat, unravel = ravel_pytree(params)
    v = jax.random.normal(jax.random.key(7), flat.shape)
    ends = [value_and_grad(unravel(flat + s * v))[0] for s in (step, -step)]
    slope = (ends[0] - ends[1]) / (2 * step)
    return float(abs(ravel_pytree(gradient)[0] @ v - slope) / abs(slope))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_second_order_gradient_by_finite_differences(x64, norm, downsample):
    run, params = adaptation(norm, downsample)
    assert finite_difference_error(run, run(params)[1], params) < 1e-6


def test_a_stopped_inner_gradient_is_noticed(x64):
    """The mutation of second order into first order fails the test above, by far."""
    run, params = adaptation("batch", "pool")
    wrong = adaptation("batch", "pool", last=0)[0](params)[1]
    assert finite_difference_error(run, wrong, params) > 1e-3


def test_conv4_is_translation_of_flax():
    """Our convolution, norm and pooling against the same network in Flax Linen."""

    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x):
            for i in range(1, 5):
                x = nn.Conv(8, (3, 3), use_bias=False, name=f"conv{i}")(x)
                x = nn.BatchNorm(use_running_average=False, name=f"norm{i}")(x)
                x = nn.max_pool(nn.relu(x), (2, 2), (2, 2))
            return nn.Dense(5, name="head")(x.reshape(x.shape[0], -1))

    ours = jm.models.conv4(5, filters=8)
    params = ours.init(KEY, IMAGES).params
    names = [f"block{i}" for i in range(1, 5)]
    theirs = {f"conv{n[-1]}": params[n]["conv"] for n in names}
    theirs |= {f"norm{n[-1]}": params[n]["norm"] for n in names} | {
        "head": params["head"]
    }
    variables = {"params": theirs}
    want, _ = Plain().apply(variables, IMAGES, mutable=["batch_stats"])
    got, _ = ours.apply(jm.Meta(params), IMAGES)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


class WithDropout(nnx.Module):
    def __init__(self, rngs, own):
        self.linear = nnx.Linear(8, 8, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs if own else None)
        self.own = own


class OwnStream(WithDropout):
    def __call__(self, x):
        return self.dropout(self.linear(x))


class GivenStream(WithDropout):
    def __call__(self, x, rngs=None):
        return self.dropout(self.linear(x), rngs=rngs)


@pytest.mark.parametrize("module", [OwnStream, GivenStream])
def test_dropout_follows_the_key(module):
    model = jm.models.from_nnx(lambda rngs: module(rngs, module is OwnStream))
    x = jnp.ones((4, 8))
    meta = model.init(KEY, x)
    assert jax.tree.leaves(meta.buffers) == []  # no random state is stored
    one = model.apply(meta, x, train=True, key=jax.random.key(1))[0]
    same = model.apply(meta, x, train=True, key=jax.random.key(1))[0]
    other = model.apply(meta, x, train=True, key=jax.random.key(2))[0]
    np.testing.assert_array_equal(one, same)
    assert (one != other).any() and (one == 0).any()
    assert (model.apply(meta, x)[0] != 0).all()


def test_linen_batch_norm_and_dropout():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
            return nn.Dropout(0.5, deterministic=not train)(x)

    model, x = jm.models.from_linen(Net()), jax.random.normal(KEY, (5, 3))
    meta = model.init(KEY, x)
    outputs, buffers = model.apply(meta, x, train=True, key=KEY)
    assert outputs.shape == (5, 8) and (outputs == 0).any()
    assert jax.tree.structure(buffers) == jax.tree.structure(meta.buffers)
    assert (buffers["batch_stats"]["BatchNorm_0"]["mean"] != 0).any()


def test_a_flax_model_meta_learns():
    """nnx.BatchNorm under grad in vmap: the state that fails if it is not plain dicts."""

    def build(rngs):
        return nnx.Sequential(
            nnx.Linear(8, 8, rngs=rngs),
            nnx.BatchNorm(8, rngs=rngs),
            nnx.Linear(8, 3, rngs=rngs),
        )

    learner = jm.maml(jm.models.from_nnx(build), optax.sgd(0.1), steps=2)
    episodes = jm.train.sample_batch(jm.testing.probe(), KEY, 3)
    meta = learner.init(KEY, jax.tree.map(lambda x: x[0], episodes))
    grads, _ = jax.jit(lambda m, e: jm.meta_gradient(learner, m, e, KEY))(
        meta, episodes
    )
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(grads))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jm.models.conv4(5, norm="bach"), "norm: got 'bach'"),
        (lambda: jm.models.conv4(5, downsample="crop"), "downsample: got 'crop'"),
        (lambda: jm.models.conv4(5, filters=0), "filters: got 0"),
        (
            lambda: jm.models.conv4(5).init(KEY, jnp.zeros((2, 784))),
            "inputs: wants images",
        ),
        (
            lambda: jm.models.conv4(5).init(KEY, jnp.zeros((2, 8, 8, 1))),
            "got images of 8x8",
        ),
        (lambda: jm.models.mlp(None, hidden=()), "hidden: got no layer"),
        (
            lambda: jm.models.convnet(5, widths=(4, 4), sizes=(3,), strides=(1, 1)),
            r"sizes: got \(3,\), wants 2 numbers, one a block",
        ),
        (lambda: jm.models.convnet(5, strides=(4, 2, 0, 1)), "strides: got .*>= 1"),
        (
            lambda: jm.models.convnet(5).init(KEY, jnp.zeros((2, 784))),
            "inputs: wants images",
        ),
        *(
            (lambda build=build: build(0), "got 0, wants an integer >= 1")
            for build in (
                jm.models.conv4,
                jm.models.convnet,
                jm.models.resnet12,
                lambda ways: jm.models.resnet(18, ways),
                jm.models.efficientnet_lite0,
                jm.models.mlp,
                jm.models.transformer,
                jm.models.vit,
            )
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("norm", ["batch", None])
def test_inputs_of_another_float_type_than_the_parameters(x64, channels, norm):
    """float32 images where JAX makes float64 parameters: the wider type, as Flax does."""
    model = jm.models.conv4(2, filters=2, blocks=1, norm=norm)
    x = jnp.linspace(0, 1, 2 * 4 * 4 * channels, dtype="float32")
    x = x.reshape(2, 4, 4, channels)
    meta = jax.jit(model.init)(jax.random.key(0), x)
    assert meta.params["block1"]["conv"]["kernel"].dtype == "float64"
    got, wanted = (jax.jit(model.apply)(meta, a)[0] for a in (x, x.astype("float64")))
    assert got.dtype == "float64"
    np.testing.assert_allclose(got, wanted, rtol=1e-12)
