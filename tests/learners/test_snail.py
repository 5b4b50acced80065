"""SNAIL: rows of attention sum to one, nobody sees the future, padding is nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.functional.causal import attention_weights, causal_conv, causal_mask
from jaxmeta.models.snail import snail_network
from jaxmeta.testing import probe

KEY = jax.random.key(0)


def test_attention_rows_sum_to_one_and_ignore_the_future(x64):
    q, k = jax.random.normal(KEY, (2, 7, 5))
    weights = attention_weights(q, k, causal_mask(7))
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-14)
    assert (weights[jnp.triu_indices(7, 1)] == 0).all()
    # one row by hand: softmax over the keys, not over the queries
    scores = np.exp(np.asarray(k)[:4] @ np.asarray(q)[3] / np.sqrt(5))
    np.testing.assert_allclose(weights[3, :4], scores / scores.sum(), rtol=1e-12)


def test_a_row_that_may_look_nowhere_is_finite():
    weights = attention_weights(
        jnp.ones((2, 3)), jnp.ones((4, 3)), jnp.zeros((2, 4), bool)
    )
    np.testing.assert_array_equal(weights, 0.25)


@pytest.mark.parametrize("dilation", [1, 3, 9])
def test_causal_convolution_is_the_padded_library_one(x64, dilation):
    x = jax.random.normal(KEY, (6, 2))
    kernel, bias = jax.random.normal(KEY, (2, 2, 4)), jnp.arange(4.0)
    got = causal_conv(x, kernel, bias, dilation=dilation)
    want = jax.lax.conv_general_dilated(
        x[None], kernel, (1,), [(dilation, 0)], rhs_dilation=(dilation,),
        dimension_numbers=("NWC", "WIO", "NWC"),
    )[0] + bias  # fmt: skip
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def network():
    with jax.enable_x64(True):
        model = snail_network(4, 3, 3, filters=4, attention=((5, 4), (6, 5), (4, 3)))
        x = jax.random.normal(KEY, (7, 4))
        meta = model.init(KEY, (x, jnp.ones(7)))
        run = jax.jit(lambda x, real: model.apply(meta, (x, real))[0])
        yield run, x


def test_network_sees_no_future(network, x64):
    run, x = network
    before = run(x, jnp.ones(7))
    jacobian = jax.jacobian(lambda x: run(x, jnp.ones(7)))(x)
    moved = np.abs(jacobian).sum((1, 3))  # [output step, input step]
    assert (moved[np.triu_indices(7, 1)] == 0).all()
    assert (moved[np.tril_indices(7)] > 0).all()  # attention reaches all of the past
    later = run(x.at[4].add(1.0), jnp.ones(7))
    np.testing.assert_array_equal(later[:4], before[:4])
    assert (np.abs(later[4:] - before[4:]).max(-1) > 1e-6).all()


def test_padding_first_is_a_shorter_sequence(network, x64):
    run, x = network
    padded = jnp.concatenate([jnp.full((2, 4), 7.0), x[:5]])
    real = jnp.array([0.0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(
        run(padded, real)[2:], run(x[:5], jnp.ones(5)), rtol=1e-12
    )


def learner():
    body = jm.models.mlp(None, hidden=(6,))
    return jm.snail(body, filters=4, attention=((4, 4), (4, 4)))


def test_depth_follows_the_support_set():
    for shots, blocks in ((1, 2), (2, 3), (5, 4)):  # T = 3 K + 1 = 4, 7, 16
        meta = jax.eval_shape(learner().init, KEY, probe(3, shots)(KEY))
        assert len(meta.params["network"]["temporal1"]) == blocks


def test_the_papers_widths():
    model = jm.models.mlp(None, hidden=(64,))
    meta = jax.eval_shape(jm.snail(model).init, KEY, probe(5, 1)(KEY))
    network = meta.params["network"]
    # 64 + 5, then 32, 3 blocks of 128, 128, 3 of 128, 256
    widths = [network[f"attention{i}"]["key"]["kernel"].shape for i in (1, 2, 3)]
    assert widths == [(69, 64), (485, 256), (997, 512)]
    assert network["head"]["kernel"].shape == (1253, 5)


def test_other_support_sizes_but_not_other_ways():
    snail = learner()
    meta = snail.init(KEY, probe(3, 2)(KEY))
    episode = probe(3, 5)(KEY)
    fast = snail.adapt(meta, episode.support, KEY)
    assert snail.predict(meta, fast, episode.query.inputs).shape == (12, 3)
    with pytest.raises(ValueError, match="targets: got 4 ways, wants 3"):
        snail.adapt(meta, probe(4, 2)(KEY).support, KEY)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(filters=0), "filters: got 0"),
        (dict(dilation=0), "dilation: got 0"),
        (dict(attention=()), r"attention: got \(\)"),
    ],
)
def test_bad_sizes(options, text):
    with pytest.raises(ValueError, match=text):
        jm.snail(jm.models.flat(), **options)
