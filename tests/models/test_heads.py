"""Classifier heads, and scale and shift of a frozen network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.models.scale_shift import graft
from jaxmeta.tree import leaves, paths

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def test_heads_against_their_equations():
    x, w, q, b = normal(1, 3, 4), normal(2, 4, 2), normal(3, 4, 2), normal(4, 2)
    tokens = normal(5, 3, 2, 2, 4)
    linear, cosine = jm.models.linear_head(2), jm.models.cosine_head(2, scale=3.0)
    attention = jm.models.attention_head(2)
    got = linear.apply(jm.Meta({"kernel": w, "bias": b}), x)[0]
    np.testing.assert_allclose(got, np.asarray(x) @ w + b, rtol=1e-12)
    got = cosine.apply(jm.Meta({"kernel": w}), x)[0]
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(w, axis=0)
    np.testing.assert_allclose(got, 3 * (np.asarray(x) @ w) / norms, rtol=1e-12)
    got = attention.apply(jm.Meta({"query": q, "kernel": w, "bias": b}), tokens)[0]
    for n in range(3):
        flat = np.asarray(tokens[n]).reshape(4, 4)  # [t, d]
        for k in range(2):
            a = np.exp(flat @ q[:, k] / 2)
            expected = (a / a.sum()) @ flat @ w[:, k] + b[k]
            np.testing.assert_allclose(got[n, k], expected, rtol=1e-12)


def test_attention_over_one_token_is_linear():
    x, w, q, b = normal(1, 3, 4), normal(2, 4, 2), normal(3, 4, 2), normal(4, 2)
    one = jm.Meta({"query": q, "kernel": w, "bias": b})
    two = jm.Meta({"kernel": w, "bias": b})
    got = jm.models.attention_head(2).apply(one, x)[0]
    expected = jm.models.linear_head(2).apply(two, x)[0]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_a_head_on_an_extractor_has_the_layout_of_the_network_with_ways():
    x = normal(0, 2, 4, 4, 1)
    options = dict(filters=2, blocks=1, norm="batch_running")
    joined = jm.models.with_head(
        jm.models.conv4(None, **options), jm.models.linear_head(3)
    )
    whole = jm.models.conv4(3, **options)
    meta = whole.init(KEY, x)
    assert paths(joined.init(KEY, x)) == paths(meta)
    for train in (False, True):
        expected, buffers = whole.apply(meta, x, train=train)
        got, after = joined.apply(meta, x, train=train)
        np.testing.assert_allclose(got, expected, rtol=1e-12)
        np.testing.assert_array_equal(leaves(after)[0], leaves(buffers)[0])


def test_scale_and_shift_start_at_the_frozen_network_bit_for_bit():
    net = jm.models.conv4(None, filters=3, blocks=2, norm="batch_running")
    x = normal(0, 4, 8, 8, 2)
    pretrained = net.init(jax.random.key(7), x)
    pretrained = pretrained._replace(buffers=net.apply(pretrained, x, train=True)[1])
    model = jm.models.scale_shift(jm.models.pretrained(net, pretrained))
    meta = model.init(KEY, x)
    frozen = net.apply(pretrained, x)[0]
    for train in (False, True):
        got, buffers = model.apply(meta, x, train=train)
        np.testing.assert_array_equal(got, frozen)
        same = jax.tree.map(np.array_equal, buffers, meta.buffers)
        assert all(leaves(same))
    assert jax.tree.map(jnp.shape, meta.params) == {
        "scale": {
            "block1/conv/kernel": (1, 1, 2, 3),
            "block2/conv/kernel": (1, 1, 3, 3),
        },
        "shift": {"block1/norm/bias": (3,), "block2/norm/bias": (3,)},
    }


def test_scale_and_shift_of_a_convolution_by_hand():
    net = jm.models.conv4(None, filters=3, blocks=1, norm=None, flatten=False)
    x = normal(0, 1, 4, 4, 2)
    model = jm.models.scale_shift(net)
    meta = model.init(KEY, x)
    s, b = normal(1, 1, 1, 2, 3), normal(2, 3)
    params = {"scale": {"block1/conv/kernel": s}, "shift": {"block1/conv/bias": b}}
    got = model.apply(meta._replace(params=params), x)[0]
    old = meta.buffers["params"]["block1"]["conv"]
    maps = jax.lax.conv_general_dilated(
        x, old["kernel"] * s, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    maps = np.maximum(maps + old["bias"] + b, 0)
    expected = maps.reshape(1, 2, 2, 2, 2, 3).max((2, 4))
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-14)


def test_graft_checks_names_and_shapes():
    target = {"a": jnp.zeros(2), "b": jnp.zeros(3)}
    with pytest.raises(ValueError, match="b: got no such leaf"):
        graft({"a": jnp.ones(2)}, target)
    with pytest.raises(ValueError, match=r"b: got shape \(2,\), wants \(3,\)"):
        graft({"a": jnp.ones(2), "b": jnp.ones(2)}, target)
    found = graft({"a": jnp.ones(2)}, target, lambda path: path == "a")
    assert found["a"].tolist() == [1, 1] and found["b"].tolist() == [0, 0, 0]


def test_errors_name_the_field():
    x = jnp.zeros((1, 3))
    for build in (jm.models.linear_head, jm.models.attention_head):
        with pytest.raises(ValueError, match="ways: got 0"):
            build(0)
    with pytest.raises(ValueError, match="scale: got -1"):
        jm.models.cosine_head(2, scale=-1.0)
    whole = jm.models.mlp(2, hidden=(2,))
    with pytest.raises(ValueError, match="model: wants"):
        jm.models.with_head(whole, jm.models.linear_head(2)).init(KEY, x)
    with pytest.raises(ValueError, match="model: wants kernels"):
        jm.models.scale_shift(jm.models.flat()).init(KEY, x)
