"""The LSTM meta-learner: SGD is its limit, its gates are the paper's."""

from functools import partial

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.rules.lstm import coordinate_lstm, preprocess
from jaxmeta.testing import probe

KEY = jax.random.key(0)


def wide(tree):
    return jax.tree.map(lambda x: x.astype("float64"), tree)


def as_sgd(rule_params, rate):
    """W = 0, f = 1 to the last bit, i = rate."""
    zero = jax.tree.map(jnp.zeros_like, rule_params)
    zero["forget"]["bias"] += 50.0
    zero["input"]["bias"] += jnp.log(rate / (1 - rate))
    return zero


def test_its_limit_is_sgd(x64):
    net = jm.models.mlp(3, hidden=(5,), activation=jnp.tanh)
    learner = jm.lstm_meta_learner(net, steps=3, hidden=4)
    twin = jm.maml(net, optax.sgd(0.3), steps=3, gradient=jm.gradients.first_order)
    episode = wide(probe()(KEY))
    meta = wide(learner.init(KEY, episode))
    meta.params["rule"] = as_sgd(meta.params["rule"], 0.3)
    plain = jm.Meta(meta.params["model"], meta.buffers)

    def close(a, b):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=1e-12), a, b
        )

    fast = jax.jit(learner.adapt)(meta, episode.support, KEY)
    close(fast.params, jax.jit(twin.adapt)(plain, episode.support, KEY))

    def gradient(learner, meta):
        def value(params):
            return learner.loss(meta._replace(params=params), episode, KEY)[0]

        return jax.jit(jax.grad(value))(meta.params)

    # and so is the gradient: FOMAML's, in the initialisation
    got = gradient(learner, meta)
    close(got["model"], gradient(twin, plain))
    assert float(jnp.abs(got["rule"]["input"]["bias"])) > 1e-4  # while the rate learns


@pytest.mark.parametrize(
    ("x", "want"),
    [
        (1.0, (0.0, 1.0)),
        (-np.e, (0.1, -1.0)),
        (1e-3, (np.log(1e-3) / 10, 1.0)),
        (0.0, (-1.0, 0.0)),
        (1e-5, (-1.0, np.exp(10) * 1e-5)),  # e^-10 is 4.5e-5
        (-1e-5, (-1.0, -np.exp(10) * 1e-5)),
    ],
)
def test_preprocessing(x64, x, want):
    np.testing.assert_allclose(preprocess(jnp.array(x)), want, rtol=1e-12, atol=1e-15)
    assert np.isfinite(jax.jacobian(preprocess)(jnp.array(x))).all()


def by_hand(rule_params, theta, grads, values, hidden):
    """Every coordinate on its own, gate by gate, in NumPy."""
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    p = jax.tree.map(np.asarray, rule_params)
    theta = np.array(theta)
    for j in range(theta.size):
        h = c = np.zeros(hidden)
        gate = {"input": 0.0, "forget": 0.0}
        for g, value in zip(grads[:, j], values, strict=True):
            x = [np.log(abs(g)) / 10, np.sign(g), np.log(value) / 10, 1.0]
            z = np.concatenate([x, h]) @ p["lstm"]["kernel"] + p["lstm"]["bias"]
            i, f, u, o = np.split(z, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(u)
            h = sigmoid(o) * np.tanh(c)
            for name in gate:
                seen = np.concatenate([h, [theta[j], gate[name]]])
                gate[name] = seen @ p[name]["kernel"] + p[name]["bias"]
            theta[j] = sigmoid(gate["forget"]) * theta[j] - sigmoid(gate["input"]) * g
    return theta


def unrolled(rule, rule_params, theta, grads, values):
    tx = rule.make(rule_params)
    state = tx.init(theta)
    for g, value in zip(grads, values, strict=True):
        updates, state = tx.update(g, state, theta, value=value)
        theta = optax.apply_updates(theta, updates)
    return theta


def test_rule_is_the_papers_and_its_gradient_exact(x64):
    rule = coordinate_lstm(hidden=3, scale=0.8, input_bias=(-1, 0), forget_bias=(0, 1))
    theta, values = jnp.array([0.5, -2.0]), jnp.array([1.5, 0.9, 0.4])
    grads = jax.random.normal(KEY, (3, 2))
    params = wide(rule.init(theta))
    got = unrolled(rule, params, theta, grads, values)
    want = by_hand(params, theta, np.asarray(grads), np.asarray(values), 3)
    np.testing.assert_allclose(got, want, rtol=1e-12)
    jax.test_util.check_grads(
        lambda params, theta: unrolled(rule, params, theta, grads, values),
        (params, theta),
        order=1,
        modes=["rev"],
    )


def test_rule_starts_as_slow_sgd_and_says_what_it_needs():
    rule = coordinate_lstm(key=KEY)
    params = rule.init(None)
    assert -5 <= params["input"]["bias"] <= -4 and 4 <= params["forget"]["bias"] <= 5
    weights = [params[k]["kernel"] for k in ("lstm", "input", "forget")]
    assert all(0 < jnp.abs(w).max() <= 0.01 for w in weights)
    tx = rule.make(params)
    with pytest.raises(ValueError, match="value: got None"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))


def test_rule_serves_maml_to_the_second_order(x64):
    net = jm.models.mlp(3, hidden=(), activation=jnp.tanh)
    rule = coordinate_lstm(hidden=2, scale=0.3, input_bias=(-1, 0))
    learner = jm.maml(net, rule, steps=2)
    episode = wide(jax.jit(probe())(KEY))
    meta = wide(jax.jit(learner.init)(KEY, episode))

    @jax.jit
    def value(params):
        return learner.loss(jm.Meta(params), episode, KEY)[0]

    rng, size = np.random.default_rng(0), 1e-6
    params = jax.tree.map(np.asarray, meta.params)
    way = jax.tree.map(lambda x: rng.normal(size=x.shape), params)
    ends = [
        value(jax.tree.map(lambda x, d, s=s: x + s * size * d, params, way))
        for s in (1, -1)
    ]
    slopes = jax.jit(jax.grad(value))(params)
    along = sum(map(np.vdot, jax.tree.leaves(slopes), jax.tree.leaves(way)))
    np.testing.assert_allclose(along, (ends[0] - ends[1]) / (2 * size), rtol=1e-6)


def test_minibatches_go_through_the_support_set_once_an_epoch(x64):
    """Example j moves weight j: the weights count how often each was used."""
    model = jm.Model(
        init=lambda key, inputs: jm.Meta(jnp.zeros(6)),
        apply=lambda meta, inputs, train=False, key=None: (inputs @ meta.params, ()),
    )
    support = jm.Batch(jnp.eye(6), jnp.zeros((6, 1)))
    episode = jm.Episode(support, support)

    def total(outputs, targets, weights):
        return (outputs if weights is None else outputs * weights).sum()

    def used(steps, weights=None):
        learner = jm.lstm_meta_learner(
            model, steps=steps, inner_batch=2, hidden=2, criterion=total
        )
        meta = learner.init(KEY, episode)
        meta.params["rule"] = as_sgd(meta.params["rule"], 0.25)
        seen = support._replace(weights=weights)
        return np.asarray(learner.adapt(meta, seen, KEY).params) / -0.25

    assert sorted(used(2).round(9)) == [0, 0, 1, 1, 1, 1]
    np.testing.assert_allclose(used(3), 1, rtol=1e-12)
    np.testing.assert_allclose(used(6), 2, rtol=1e-12)
    some = jnp.array([1.0, 0, 1, 0, 1, 1])  # four count: an epoch is two steps
    np.testing.assert_allclose(used(2, some), some, rtol=1e-12)
    np.testing.assert_allclose(used(4, some), 2 * some, rtol=1e-12)
    bad = jm.lstm_meta_learner(model, inner_batch=4)
    with pytest.raises(ValueError, match="inner_batch: got 4, wants a divisor"):
        bad.adapt(bad.init(KEY, episode), support, KEY)


def test_batch_norm_protocol(x64):
    """Averages start anew, see phi_0, ..., phi_{T-1} on the support, serve the query."""
    net = jm.models.conv4(2, filters=2, blocks=1, norm="batch_running")
    build = lambda steps: jm.lstm_meta_learner(  # noqa: E731
        net, steps=steps, hidden=2, input_bias=(0.0, 0.5)
    )
    images = jax.random.uniform(KEY, (4, 4, 4, 1))
    support = jm.Batch(images, jnp.eye(2).repeat(2, 0))
    episode = wide(jm.Episode(support, support))
    meta = wide(jax.jit(build(1).init)(KEY, episode))

    one, two = (jax.jit(build(t).adapt)(meta, episode.support, KEY) for t in (1, 2))
    buffers = meta.buffers
    for phi in (meta.params["model"], one.params):
        here = jm.Meta(phi, buffers)
        _, buffers = jax.jit(partial(net.apply, train=True))(
            here, episode.support.inputs
        )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), two.buffers, buffers
    )
    _, aux = jax.eval_shape(build(2).loss, meta, episode, KEY)
    assert aux.buffers is None


@pytest.mark.parametrize(
    "options", [dict(steps=0), dict(inner_batch=0), dict(hidden=0)]
)
def test_bad_options(options):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"{name}: got 0"):
        jm.lstm_meta_learner(jm.models.flat(), **options)
