"""The transformer and the LSTM, as Models."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxmeta as jm
from jaxmeta.functional.recurrent import Carry, lstm_step
from jaxmeta.models.attention import MultiHeadAttention
from jaxmeta.models.transformer import patches

KEY = jax.random.key(0)
SMALL = dict(patch=4, width=8, depth=1, heads=2, expansion=2)


def test_patches_are_the_image_cut_up():
    images = jnp.arange(2 * 8 * 12 * 3.0).reshape(2, 8, 12, 3)
    cut = patches(images, 4)
    assert cut.shape == (2, 6, 48)
    # row by row: patch 4 is the second row's second
    np.testing.assert_array_equal(cut[1, 4], images[1, 4:8, 4:8].reshape(-1))
    with pytest.raises(ValueError, match="patch: got 5"):
        patches(images, 5)


@pytest.mark.parametrize("pool", ["mean", "cls"])
def test_images(pool):
    images = jax.random.uniform(KEY, (3, 8, 8, 1))
    model = jm.models.transformer(5, pool=pool, **SMALL)
    meta = model.init(KEY, images)
    outputs, buffers = jax.jit(model.apply)(meta, images)
    assert outputs.shape == (3, 5) and buffers == {}
    assert meta.params["position"].shape == (4 + (pool == "cls"), 8)
    # one example at a time is the same: no statistics of the batch
    np.testing.assert_allclose(
        model.apply(meta, images[1:2])[0][0], outputs[1], atol=1e-5
    )
    grads = jax.jit(jax.grad(lambda p: model.apply(jm.Meta(p, {}), images)[0][0, 0]))(
        meta.params
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
        if "head" not in jax.tree_util.keystr(path):
            assert float(jnp.abs(leaf).max()) > 0, path


def test_sequences_and_the_need_for_positions():
    x = jax.random.normal(KEY, (2, 5, 3))
    model = jm.models.transformer(None, **SMALL)
    meta = model.init(KEY, x)
    run = jax.jit(lambda meta, x: model.apply(meta, x)[0])
    assert run(meta, x).shape == (2, 8)
    assert float(jnp.abs(run(meta, x[:, ::-1]) - run(meta, x)).max()) > 1e-4
    # without positions, the mean over tokens is blind to their order
    blind = jm.Meta({**meta.params, "position": jnp.zeros((5, 8))}, {})
    np.testing.assert_allclose(run(blind, x[:, ::-1]), run(blind, x), atol=1e-5)


def test_multi_head_attention_is_flax_own(x64):
    """The library's module, with the same weights in its layout."""
    mine = MultiHeadAttention(6, 6, 6, 6, 2, rngs=nnx.Rngs(0))
    theirs = nnx.MultiHeadAttention(2, 6, use_bias=True, decode=False, rngs=nnx.Rngs(0))
    x = jax.random.normal(KEY, (2, 5, 6))
    for name in ("query", "key", "value"):
        kernel = getattr(mine, name).kernel[...]
        getattr(theirs, name).kernel[...] = kernel.reshape(6, 2, 3)
    theirs.out.kernel[...] = mine.out.kernel[...].reshape(2, 3, 6)
    np.testing.assert_allclose(mine(x, x, x), theirs(x), rtol=1e-6, atol=1e-7)


def test_lstm_step_is_flax_own(x64):
    theirs = nnx.OptimizedLSTMCell(3, 4, rngs=nnx.Rngs(0))
    inside = theirs.dense_i.kernel[...], theirs.dense_h.kernel[...]
    kernel = jnp.concatenate(inside).astype("float64")  # both order i, f, g, o
    h, c, x = (jax.random.normal(k, (d,)) for k, d in zip(
        jax.random.split(KEY, 3), (4, 4, 3), strict=True
    ))  # fmt: skip
    got = lstm_step(kernel, theirs.dense_h.bias[...], Carry(h, c), x)
    (cell, hidden), _ = theirs((c, h), x)
    np.testing.assert_allclose(got.hidden, hidden, rtol=1e-6)
    np.testing.assert_allclose(got.cell, cell, rtol=1e-6)


def test_lstm_reads_from_both_ends():
    x = jax.random.normal(KEY, (2, 5, 3))
    model = jm.models.lstm(None, hidden=4, bidirectional=True)
    meta = model.init(KEY, x)
    outputs, _ = model.apply(meta, x)
    assert outputs.shape == (2, 8)
    mirrored = {"forward": meta.params["backward"], "backward": meta.params["forward"]}
    swapped, _ = model.apply(jm.Meta(mirrored, {}), x[:, ::-1])
    np.testing.assert_allclose(swapped, jnp.roll(outputs, 4, -1), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(heads=3, width=8), "heads: got 3, wants a divisor"),
        (dict(depth=0), "depth: got 0"),
        (dict(pool="max"), "pool: got 'max'"),
    ],
)
def test_bad_options(options, text):
    with pytest.raises(ValueError, match=text):
        jm.models.transformer(5, **options)


def test_bad_inputs():
    with pytest.raises(ValueError, match="inputs: got shape"):
        jm.models.transformer(5).init(KEY, jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="inputs: got shape"):
        jm.models.lstm(5).init(KEY, jnp.zeros((2, 3)))
