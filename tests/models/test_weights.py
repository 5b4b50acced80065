"""Row weights through every network: w is w copies of a row, 0 is no row at all."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxmeta as jm
from jaxmeta.models import layers
from jaxmeta.models.relation import AllPairs
from jaxmeta.tree import leaves

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
WEIGHTS = np.array([0.0, 2.0, 1.0, 3.0, 1.0, 0.0])


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(3, param_dtype="float64")(x)
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        return nn.Dense(2, param_dtype="float64")(nn.relu(x))


class Own(nnx.Module):
    """A norm in a list, and one over the first axis of an image."""

    def __init__(self, rngs):
        self.norms = nnx.List([nnx.BatchNorm(1, momentum=0.8, rngs=rngs)])
        self.conv = layers.Conv(1, 2, rngs=rngs)
        self.norm = nnx.BatchNorm(2, use_bias=False, rngs=rngs)

    def __call__(self, x, train=False):
        x = self.norm(self.conv(self.norms[0](x)), use_running_average=not train)
        return x.mean((1, 2))


class Half(nnx.Module):
    """Makes two rows of one: no weights fit."""

    def __init__(self, rngs):
        self.norm = nnx.BatchNorm(1, rngs=rngs)

    def __call__(self, x):
        return self.norm(x.reshape(2 * x.shape[0], -1, 1))


def double(meta):
    """Flax makes float32, whatever the mode."""
    return jax.tree.map(lambda x: x.astype(float), meta)


def small(*args, norm="batch", **options):
    return jm.models.conv4(*args, filters=2, blocks=2, norm=norm, **options)


IMAGES = (4, 4, 1)
CASES = {
    "conv4": (lambda: small(2), IMAGES),
    "conv4_running_stride": (
        lambda: small(2, norm="batch_running", downsample="stride"),
        IMAGES,
    ),
    "conv4_renorm": (lambda: small(2, norm="batch_renorm"), IMAGES),
    "conv4_group": (lambda: small(2, norm="group"), IMAGES),
    "convnet": (
        lambda: jm.models.convnet(2, widths=(2,), sizes=(3,), strides=(2,)),
        IMAGES,
    ),
    "resnet12": (lambda: jm.models.resnet12(2, widths=(2,), drop_rate=0.0), IMAGES),
    "relation": (lambda: jm.models.relation(filters=2), IMAGES),
    "generator": (lambda: jm.models.generator(4, filters=(2, 2)), (3,)),
    "nnx": (lambda: jm.models.from_nnx(lambda rngs: Own(rngs)), IMAGES),
    "nnx_batch": (
        lambda: jm.models.from_nnx(lambda rngs: Own(rngs), statistics="batch"),
        IMAGES,
    ),
    "linen": (lambda: jm.models.from_linen(Linen()), (3,)),
    "linen_batch": (lambda: jm.models.from_linen(Linen(), statistics="batch"), (3,)),
    "wrapped": (
        lambda: jm.models.per_step(
            jm.models.half_precision(
                jm.models.with_head(
                    small(None, norm="batch_running"), jm.models.linear_head(2)
                ),
                jnp.float64,
            ),
            2,
        ),
        IMAGES,
    ),
    "scale_shift": (lambda: jm.models.scale_shift(small(2)), IMAGES),
}


@pytest.mark.parametrize("name", CASES)
def test_padding_is_nothing_and_a_weight_is_copies(name):
    build, shape = CASES[name]
    model = build()
    x = np.random.default_rng(0).normal(size=(6, *shape))
    meta = double(model.init(KEY, x))
    # away from where all starts: averages of 0 and 1, norms of scale 1
    noise = np.random.default_rng(1)
    meta = jax.tree.map(lambda p: p + 0.3 * noise.random(p.shape), meta)
    x[0], x[-1] = (0.5, 1e3) if name == "relation" else (np.nan, 1e30)
    copies = np.repeat(x[1:5], WEIGHTS[1:5].astype(int), 0)

    def run(params, x, weights, train):
        given = meta._replace(params=params)
        y, buffers = jm.models.call(model, given, x, weights=weights, train=train)
        w = jnp.ones(len(x)) if weights is None else weights
        each = jnp.sin(y).reshape(len(x), -1).sum(1)
        return w @ jnp.where(w > 0, each, 0) / w.sum(), (y, buffers)

    run = jax.jit(jax.value_and_grad(run, has_aux=True), static_argnums=3)
    for train in (False, True):
        found = run(meta.params, x, jnp.array(WEIGHTS), train)
        wanted = run(meta.params, copies, None, train)
        (value, (y, buffers)), grads = found
        y = np.repeat(y[1:5], WEIGHTS[1:5].astype(int), 0)
        found = (value, (y, buffers)), grads
        for a, b in zip(leaves(found), leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["conv4_running_stride", "conv4", "nnx", "linen"])
def test_no_row_at_all(name):
    """All weights 0: nothing is NaN, and running averages stay where they are."""
    build, shape = CASES[name]
    model, x = build(), jnp.full((3, *shape), jnp.nan)
    meta = double(model.init(KEY, x))
    y, buffers = model.apply(meta, x, train=True, weights=jnp.zeros(3))
    assert np.isfinite(y).all()
    for a, b in zip(leaves(buffers), leaves(meta.buffers), strict=True):
        np.testing.assert_array_equal(a, b)


def test_pairs_apart_have_the_weights_of_pairs():
    model = jm.models.relation(filters=2)
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 1))
    apart = AllPairs(*jnp.asarray(x))
    left, right = np.tile(x[0], (3, 1, 1, 1)), np.repeat(x[1], 3, 0)
    joined = np.concatenate([left, right], -1)
    weights = jnp.outer(jnp.array([1.0, 0, 2]), jnp.array([1.0, 1, 0])).ravel()
    meta = model.init(KEY, apart)
    one, two = (model.apply(meta, p, weights=weights)[0] for p in (apart, joined))
    np.testing.assert_allclose(one, two, rtol=1e-12, atol=1e-14)
    kept = np.repeat(joined, np.asarray(weights).astype(int), 0)
    three = model.apply(meta, kept)[0]
    one = np.repeat(one, np.asarray(weights).astype(int))
    np.testing.assert_allclose(one, three, rtol=1e-12, atol=1e-14)


def test_weights_that_fit_nothing_are_refused():
    x = jnp.zeros((3, 4))
    halves = jm.models.from_nnx(lambda rngs: Half(rngs))
    meta = double(halves.init(KEY, x))
    with pytest.raises(ValueError, match="weights: norm normalises 6 rows"):
        halves.apply(meta, x, weights=jnp.ones(3), train=True)
    halves.apply(meta, x, weights=jnp.ones(3))  # running averages mix nothing
    with pytest.raises(ValueError, match=r"weights: got shape \(2,\)"):
        halves.apply(meta, x, weights=jnp.ones(2))


@pytest.mark.parametrize("name", ["conv4", "nnx", "linen"])
def test_weights_lost_on_the_way_are_refused(name):
    build, shape = CASES[name]
    inner, x = build(), jnp.zeros((2, *shape))

    def apply(meta, inputs, *, train=False, key=None):
        return inner.apply(meta, inputs, train=train, key=key)

    outer, meta = jm.Model(inner.init, apply), double(inner.init(KEY, x))
    jm.models.call(outer, meta, x, train=True)
    with pytest.raises(ValueError, match=r"weights: .*norm.* mixes examples"):
        jm.models.call(outer, meta, x, weights=jnp.ones(2), train=True)
    if name != "conv4":  # its norm has no averages
        jm.models.call(outer, meta, x, weights=jnp.ones(2))


def test_a_norm_of_somebodys_own_cannot_be_told():
    class Mine(nnx.BatchNorm):
        def __call__(self, x):
            return super().__call__(x - 1)

    class Stat(nnx.Module):
        def __init__(self):
            self.mean = nnx.BatchStat(jnp.zeros(1))

        def __call__(self, x):
            return x - x.mean(0)

    x, weights = jnp.ones((2, 3)), jnp.ones(2)
    mine = jm.models.from_nnx(lambda rngs: Mine(3, rngs=rngs))
    stat = jm.models.from_nnx(lambda rngs: Stat())
    for model, text in (
        (mine, "a __call__ of its own"),
        (stat, "statistics of its own"),
    ):
        meta = double(model.init(KEY, x))
        model.apply(meta, x, train=True)
        with pytest.raises(ValueError, match=text):
            model.apply(meta, x, train=True, weights=weights)

    class Takes(Stat):
        def __call__(self, x, weights=None):
            return x - jnp.average(x, 0, weights)

    model = jm.models.from_nnx(lambda rngs: Takes())
    x = jnp.array([[1.0], [3.0]])
    y, _ = model.apply(model.init(KEY, x), x, weights=jnp.array([3.0, 1.0]))
    assert y[:, 0].tolist() == [-0.5, 1.5]


def test_without_weights_the_program_is_as_long_as_before():
    """No operation is added where there are no weights."""
    x = jnp.zeros((3, 4, 4, 2))
    args = x, jnp.ones(2), jnp.zeros(2)
    text = str(jax.make_jaxpr(jm.convolution.batch_norm)(*args))
    assert text.count("reduce_sum") == 3 and "select_n" not in text
