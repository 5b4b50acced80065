"""A grown network computes what it did, and so would its optimiser have."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import transfer
from jaxmeta.models import conv4, mlp, resnet12

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 4)
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 1)).astype("float32")
VECTORS = np.random.default_rng(1).normal(size=(5, 3)).astype("float32")
LABELS = np.eye(2, dtype="float32")[[0, 1, 0, 1]]


def widen(outputs, inputs, width, **more):
    return transfer.widen(outputs, inputs, width, key=KEYS[1], **more)


def conv(ways=2, **more):
    return conv4(ways, **dict(filters=3, blocks=2, norm=None) | more)


RUNNING = dict(norm="batch_running")
SHORTCUT = ("conv3", "norm3", "shortcut", "shortcut_norm")
RESNET = resnet12(2, widths=(3,), drop_rate=0.0)
# name: network, inputs, morph, the grown network from its own builder
CASES = {
    "dense": (mlp(2, hidden=(4, 5)), VECTORS, widen("layer1", "layer2", 7),
              mlp(2, hidden=(7, 5))),
    "dense-to-head": (mlp(2, hidden=(4, 5)), VECTORS, widen("layer2", "head", 8),
                      mlp(2, hidden=(4, 8))),
    "conv-strided": (conv(downsample="stride"), IMAGES,
                     widen("block1", "block2", 5), None),
    "both-blocks": (conv(**RUNNING), IMAGES, transfer.chain_morphs(
        widen("block1", "block2", 5), widen("block2", "head", 5)),
        conv(filters=5, **RUNNING)),
    "batch-norm": (conv(norm="batch"), IMAGES, widen("block1", "block2", 5), None),
    "layer-norm": (conv(norm="layer"), IMAGES, widen("block1", "block2", 6), None),
    "group-norm": (conv(norm="group", filters=4), IMAGES,
                   widen("block1", "block2", 8), None),
    "residual": (RESNET, IMAGES, widen(
        [f"block1/{name}" for name in SHORTCUT], "head", 5), None),
    "deeper": (mlp(2, hidden=(4, 5)), VECTORS, transfer.deepen("layer1"),
               mlp(2, hidden=(4, 4, 5))),
    "deeper-conv": (conv(), IMAGES, transfer.deepen("block2"),
                    conv(blocks=3, pools=2)),
    "deeper-norm": (conv(**RUNNING), IMAGES, transfer.deepen("block2"),
                    conv(blocks=3, pools=2, **RUNNING)),
    "kernel": (conv(**RUNNING), IMAGES, transfer.grow_kernel("block2/conv", 5), None),
    "kernel-strided": (conv(downsample="stride"), IMAGES,
                       transfer.grow_kernel("block1", 7), None),
}  # fmt: skip


def lively(meta):
    """Parameters and statistics away from their zeros and ones; variances positive."""
    paths = jm.tree.paths(meta)
    return jax.tree.map(
        lambda p, x: x + (0.2 + 0.1 * np.sin(np.arange(x.size))).reshape(x.shape)
        if x.ndim == 1 else x,
        paths, meta,
    )  # fmt: skip


def grown(name, dtype, key, inputs):
    model, _, morph, network = CASES[name]
    found = lively(model.init(key, inputs))
    before = jax.tree.map(lambda x: jnp.asarray(x, dtype), found)
    return model, before, morph.meta(before), network


def differ(name, dtype):
    @jax.jit
    def outputs(key, inputs):
        model, before, after, network = grown(name, dtype, key, inputs)
        want, _ = model.apply(before, inputs)
        return want, (network or model).apply(after, inputs)[0]

    want, got = outputs(KEY, jnp.asarray(CASES[name][1], dtype))
    assert want.dtype == got.dtype == dtype and jnp.std(want) > 0.05
    return np.max(np.abs(got - want))


@pytest.mark.parametrize("name", CASES)
def test_the_function_stays(name):
    assert differ(name, jnp.float32) < 1e-6
    with jax.enable_x64(True):
        assert differ(name, jnp.float64) < 1e-12


@pytest.mark.parametrize("name", [n for n, case in CASES.items() if case[3]])
def test_the_grown_network_is_the_builders(name):
    model, inputs, morph, network = CASES[name]
    made = transfer.morphed(model, morph, network).init(KEY, inputs)
    want = jax.eval_shape(network.init, KEY, inputs)
    assert jax.tree.map(jnp.shape, made) == jax.tree.map(jnp.shape, want)
    with pytest.raises(ValueError, match="network: wants"):
        transfer.morphed(model, morph, mlp(2, hidden=(9, 9, 9))).init(KEY, inputs)


def squares(model, inputs, meta):
    targets = jnp.asarray(np.cos(np.arange(len(inputs) * 2.0)).reshape(-1, 2))
    return jax.grad(
        lambda p: jm.losses.mse(
            model.apply(meta._replace(params=p), inputs)[0], targets
        )
    )(meta.params)


def close(got, want, rtol=1e-9):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, 1e-13), got, want)


@pytest.mark.parametrize("name", ["dense", "both-blocks"])
def test_averages_of_gradients_are_the_wider_networks(x64, name):
    # the gradient of the wider network is the old one's, carried; so are its moments
    tx = optax.chain(optax.trace(0.9), optax.scale_by_adam())

    @jax.jit
    def states(key, inputs):
        model, before, after, _ = grown(name, jnp.float64, key, inputs)
        old, new = squares(model, inputs, before), squares(model, inputs, after)
        first = tx.update(old, tx.init(before.params))[1]
        want = tx.update(new, tx.init(after.params))[1]
        return CASES[name][2].opt_state(first, before.params), want

    got, want = states(KEY, jnp.asarray(CASES[name][1], float))
    assert jax.tree.structure(got) == jax.tree.structure(want)
    close(got, want)


@pytest.mark.parametrize("name", ["dense", "deeper-norm"])
def test_training_goes_on(name):
    model, inputs, morph, network = CASES[name]
    batch = jm.Batch(jnp.asarray(inputs[:4]), jnp.asarray(LABELS))
    tx = optax.partition(
        {True: optax.adam(1e-2), False: optax.sgd(1e-2, momentum=0.9)},
        lambda params: jax.tree.map(lambda p: "head" not in p, jm.tree.paths(params)),
    )

    def train(network, state, steps):
        trainer = jm.make_trainer(transfer.supervised(network), tx)
        return jax.jit(
            lambda start: jax.lax.scan(
                lambda s, _: trainer.step(s, batch, KEY), start, None, length=steps
            )
        )(state)

    meta = model.init(KEY, batch.inputs)
    start = jm.TrainState(meta, tx.init(meta.params), jnp.zeros((), "int32"))
    state, before = train(model, start, 10)
    after = morph.meta(state.meta)
    moments = morph.opt_state(state.opt_state, state.meta.params)
    fresh = tx.init(after.params)
    assert jax.tree.map(jnp.shape, moments) == jax.tree.map(jnp.shape, fresh)
    grown = state._replace(meta=after, opt_state=moments)
    _, metrics = train(network or model, grown, 20)
    # no loss is lost, and the next steps win more
    assert metrics["loss"][0] < before["loss"][-1] + (1e-6 if name == "dense" else 0.1)
    assert metrics["loss"][-1] < 0.97 * metrics["loss"][0]
    assert metrics["loss"][-1] < before["loss"][-1] - 0.01


def test_statistics_of_a_batch_undo_a_norm_without_averages(x64):
    model, deeper = conv(norm="batch"), conv(blocks=3, pools=2, norm="batch")
    inputs = jnp.asarray(IMAGES, jnp.float64)
    before = jax.tree.map(lambda x: x.astype(float), model.init(KEY, inputs))
    maps, _ = conv(None, norm="batch", flatten=False).apply(
        jm.Meta({k: v for k, v in before.params.items() if k != "head"}), inputs
    )
    morph = transfer.deepen(
        "block2", statistics=(maps.mean((0, 1, 2)), maps.var((0, 1, 2)))
    )
    got, _ = deeper.apply(morph.meta(before), inputs)
    np.testing.assert_allclose(got, model.apply(before, inputs)[0], 0, 1e-12)
    with pytest.raises(ValueError, match="wants statistics"):
        transfer.deepen("block2").meta(before)


def test_noise_tells_copies_apart_and_leaves_the_originals():
    meta = mlp(2, hidden=(3,)).init(KEY, VECTORS)
    plain, noisy = (
        widen("layer1", "head", 6, noise=n).meta(meta).params for n in (0.0, 0.1)
    )
    kernel = np.asarray(noisy["layer1"]["kernel"])
    same = np.isclose(kernel, plain["layer1"]["kernel"]).all(0)
    assert same.tolist() == [True, False] * 3
    assert np.array_equal(
        plain["layer1"]["kernel"][:, 0], plain["layer1"]["kernel"][:, 1]
    )
    assert np.array_equal(noisy["head"]["kernel"], plain["head"]["kernel"])


def test_messages():
    meta = mlp(2, hidden=(4, 5)).init(KEY, VECTORS)
    for morph, text in [
        (widen("layer1", "layer2", 4), "width: got 4, wants more than 4"),
        (widen("layer1", "head", 6), "inputs: wants kernels that read 4"),
        (widen(("layer1", "layer2"), "head", 6), "outputs: wants parts of one width"),
        (widen("layer9", "head", 6), "outputs: wants parts of one width, got {}"),
        (transfer.deepen("layer9"), "after: got 'layer9'"),
        (transfer.grow_kernel("layer1", 5), "part: got 'layer1'"),
    ]:
        with pytest.raises(ValueError, match=text):
            morph.meta(meta)
    with pytest.raises(ValueError, match="ends in a number"):
        transfer.deepen("head")
    images = conv().init(KEY, IMAGES)
    with pytest.raises(ValueError, match="size: got 4"):
        transfer.grow_kernel("block1", 4).meta(images)
    state = optax.adadelta().init(meta.params)
    with pytest.raises(ValueError, match="opt_state: got a field"):
        widen("layer1", "layer2", 6).opt_state(state, meta.params)
