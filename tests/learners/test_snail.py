"""SNAIL: rows of attention sum to one, nobody sees the future, padding is nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.functional.causal import attention_weights, causal_conv, causal_mask
from jaxmeta.functional.sequence import presented
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


def test_a_key_of_weight_two_is_two_keys(x64):
    q, k = jax.random.normal(KEY, (2, 4, 3))
    v = jnp.arange(4.0)
    weighed = attention_weights(q, k, weights=jnp.array([2.0, 1.0, 0.0, 1.0])) @ v
    rows = jnp.array([0, 0, 1, 3])
    np.testing.assert_allclose(weighed, attention_weights(q, k[rows]) @ v[rows], 1e-12)


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
        made = snail_network(4, 3, 3, filters=4, attention=((5, 4), (6, 5), (4, 3)))
        x = jax.random.normal(KEY, (7, 4))
        meta = shaken(made.along.init(KEY, (x, jnp.ones(7))))
        run = jax.jit(lambda x, real: made.along.apply(meta, (x, real))[0])
        yield run, x, made, meta


def shaken(meta):
    """Parameters in float64 none of which is 0 or 1."""
    leaves, treedef = jax.tree.flatten(meta)
    keys = jax.random.split(KEY, len(leaves))
    moved = [
        x + 0.3 * jax.random.normal(k, x.shape, "float64")
        for k, x in zip(keys, leaves, strict=True)
    ]
    return treedef.unflatten(moved)


def test_network_sees_no_future(network, x64):
    run, x, *_ = network
    before = run(x, jnp.ones(7))
    jacobian = jax.jacobian(lambda x: run(x, jnp.ones(7)))(x)
    moved = np.abs(jacobian).sum((1, 3))  # [output step, input step]
    assert (moved[np.triu_indices(7, 1)] == 0).all()
    assert (moved[np.tril_indices(7)] > 0).all()  # attention reaches all of the past
    later = run(x.at[4].add(1.0), jnp.ones(7))
    np.testing.assert_array_equal(later[:4], before[:4])
    assert (np.abs(later[4:] - before[4:]).max(-1) > 1e-6).all()


def test_padding_first_is_a_shorter_sequence(network, x64):
    run, x, *_ = network
    padded = jnp.concatenate([jnp.full((2, 4), 7.0), x[:5]])
    real = jnp.array([0.0, 0, 1, 1, 1, 1, 1])
    np.testing.assert_allclose(
        run(padded, real)[2:], run(x[:5], jnp.ones(5)), rtol=1e-12
    )


def by_hand(params, x):
    """The paper's figures 1 and 2 in NumPy; TC's dilations are 2, 4, 8 (its appendix)."""
    p = jax.tree.map(np.asarray, params)
    t = len(x)

    def linear(layer, x):
        return x @ layer["kernel"] + layer["bias"]

    def attend(p, x):
        q, k, v = (linear(p[name], x) for name in ("query", "key", "value"))
        read = []
        for i in range(t):
            scores = np.exp(k[: i + 1] @ q[i] / np.sqrt(k.shape[1]))
            read.append(scores / scores.sum() @ v[: i + 1])
        return np.concatenate([x, read], 1)

    def convolve(p, x):
        for i in (1, 2, 3):
            block, d = p[f"block{i}"], 2**i
            rows = []
            for now in range(t):
                before = x[now - d] if now >= d else np.zeros_like(x[0])
                y = before @ block["kernel"][0] + x[now] @ block["kernel"][1]
                f, g = np.split(y + block["bias"], 2)
                rows.append(np.tanh(f) / (1 + np.exp(-g)))
            x = np.concatenate([x, rows], 1)
        return x

    x = convolve(p["temporal1"], attend(p["attention1"], np.asarray(x)))
    x = convolve(p["temporal2"], attend(p["attention2"], x))
    return linear(p["head"], attend(p["attention3"], x))


def test_network_is_the_papers(network, x64):
    run, x, _, meta = network
    want = by_hand(meta.params, x)
    np.testing.assert_allclose(run(x, jnp.ones(7)), want, rtol=1e-12, atol=1e-12)


def test_what_is_kept_of_a_sequence_is_enough(network, x64):
    """The next element costs its own work: the numbers are those of the whole pass."""
    run, x, made, meta = network
    for real in (jnp.ones(6), jnp.array([0.0, 0, 1, 1, 1, 1])):  # and padding in front
        past, _ = made.past.apply(meta, (x[:6], real))
        others = jnp.stack([x[6], x[0], -x[3]])
        after, _ = made.after.apply(meta, (past, others))
        for one, got in zip(others, after, strict=True):
            whole = run(jnp.concatenate([x[:6], one[None]]), jnp.append(real, 1))
            np.testing.assert_allclose(got, whole[-1], rtol=1e-12, atol=1e-13)


def reading_anew(body, sizes):
    """SNAIL that runs the support set again for each query, as it is written down."""
    learner = jm.snail(body, **sizes)

    def answers(params, features, episode, order):
        support, n = episode.support, episode.support.targets.shape[0]
        shown, real = presented(support._replace(inputs=features[:n]), order)
        ways = support.targets.shape[-1]
        network = snail_network(features.shape[-1] + ways, ways, 3, **sizes).along

        def one(query):
            rows = jnp.concatenate([shown.inputs, shown.targets], -1)
            last = jnp.concatenate([query, jnp.zeros(ways)])
            inputs = (jnp.concatenate([rows, last[None]]), jnp.append(1.0 * real, 1))
            return network.apply(jm.Meta(params["network"], {}), inputs)[0][-1]

        return jax.vmap(one)(features[n:])

    def outputs(params, episode, order):
        inputs = jnp.concatenate([b.inputs for b in episode])
        features, _ = body.apply(jm.Meta(params["embedding"], {}), inputs)
        return answers(params, features, episode, order)

    def loss(params, episode, key):
        found = outputs(params, episode, jax.random.split(key)[0])
        return jm.criteria.classification.loss(found, *episode.query[1:])

    return learner, outputs, loss


def test_reading_once_changes_no_number_and_is_less_work(x64):
    """Predictions, loss and gradient against the pass over everything for each query."""
    body = jm.models.mlp(None, hidden=(6,))
    sizes = dict(filters=4, attention=((4, 4), (4, 4)))
    learner, outputs, loss = reading_anew(body, sizes)
    episode = jax.tree.map(lambda x: x.astype("float64"), probe(3, 2, 3)(KEY))
    weights = jnp.array([1.0, 0, 1, 1, 1, 1])  # 5 examples and a row that is none
    episode = episode._replace(support=episode.support._replace(weights=weights))
    meta = shaken(learner.init(KEY, episode))

    def reading_once(params, episode):
        here = meta._replace(params=params)
        fast = learner.adapt(here, episode.support, KEY)
        value = jax.value_and_grad(
            lambda p: learner.loss(here._replace(params=p), episode, KEY)[0]
        )(params)
        return learner.predict(here, fast, episode.query.inputs), value

    def again(params, episode):
        value = jax.value_and_grad(loss)(params, episode, KEY)
        return outputs(params, episode, KEY), value

    one, other = (jax.jit(f)(meta.params, episode) for f in (reading_once, again))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12),
        one,
        other,
    )

    def work(f):
        return jax.jit(f).lower(meta.params, episode).cost_analysis()["flops"]

    # 9 queries after 6 examples: 15 elements instead of 63
    assert work(reading_once) < work(again) / 3


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
