"""Conditional neural processes: sets in, distributions out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.functional.gaussian import (
    Gaussian,
    coverage,
    entropy,
    gaussian_nll,
    log_prob,
    sample,
)
from jaxmeta.learners.cnp import neural_process

KEY = jax.random.key(0)
TASK = jm.tasks.sinusoid(5, 6)


def body(width=8):
    return jm.models.mlp(None, hidden=(width,), activation=jnp.tanh)


def process(attention, **options):
    keys = None if attention == "none" else body(4)
    decoder = jm.models.mlp(2, hidden=(8,))
    return neural_process(
        body(), decoder, attention=attention, keys=keys, heads=2, **options
    )


def wide(tree):
    return jax.tree.map(lambda x: x.astype("float64"), tree)


@pytest.fixture(scope="module", params=["none", "dot", "multihead"])
def built(request):
    with jax.enable_x64(True):
        made = process(request.param)
        episode = wide(TASK(KEY))
        yield made, wide(made.learner.init(KEY, episode)), episode


def test_context_is_a_set(built, x64):
    made, meta, (support, query) = built

    @jax.jit
    def answer(support):
        fast = made.learner.adapt(meta, support, KEY)
        return made.predictive(meta, fast, query.inputs)

    plain = answer(support)
    turned = answer(jax.tree.map(lambda x: x[::-1], support))
    np.testing.assert_allclose(turned.mean, plain.mean, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(turned.std, plain.std, rtol=1e-11)
    # ... whose every element counts, and counts once when it is there twice
    moved = answer(support._replace(targets=support.targets.at[0].add(1.0)))
    assert (np.abs(moved.mean - plain.mean) > 1e-8).all()
    twice = answer(jax.tree.map(lambda x: jnp.concatenate([x, x]), support))
    np.testing.assert_allclose(twice.mean, plain.mean, rtol=1e-11, atol=1e-12)


def test_loss_is_the_likelihood_of_context_and_query(built, x64):
    made, meta, episode = built
    value, aux = jax.jit(made.learner.loss)(meta, episode, KEY)
    fast = made.learner.adapt(meta, episode.support, KEY)
    near, far = (made.predictive(meta, fast, b.inputs) for b in episode)
    assert (far.std >= 0.1).all()
    total = sum(
        log_prob(p, b.targets).sum() for p, b in zip((near, far), episode, strict=True)
    )
    np.testing.assert_allclose(value, -total / 11, rtol=1e-12)
    means = made.learner.predict(meta, fast, episode.query.inputs)
    np.testing.assert_allclose(means, far.mean, rtol=1e-12)
    want = ((means - episode.query.targets) ** 2).mean()
    np.testing.assert_allclose(aux.metrics["mse"], want, rtol=1e-12)
    nll = gaussian_nll(far, episode.query.targets)
    np.testing.assert_allclose(aux.metrics["nll"], nll, rtol=1e-12)


def numpy_process(params, attention, support, x):
    """Mean and standard deviation in NumPy, from the equations of `cnp`."""
    p = jax.tree.map(np.asarray, params)
    relu = lambda a: np.maximum(a, 0)  # noqa: E731

    def dense(layer, a):
        return a @ layer["kernel"] + layer.get("bias", 0.0)

    r = np.tanh(dense(p["encoder"]["layer1"], np.hstack(support[:2])))
    if attention == "none":
        seen = np.repeat(r.mean(0)[None], len(x), 0)
    else:
        k, q = (np.tanh(dense(p["keys"]["layer1"], a)) for a in (support.inputs, x))
        heads = [(q, k, r)]
        if attention == "multihead":
            a = p["attention"]["attention"]
            triple = dense(a["query"], q), dense(a["key"], k), dense(a["value"], r)
            heads = zip(*(np.split(each, 2, 1) for each in triple), strict=True)
        read = []
        for q, k, v in heads:
            e = np.exp(q @ k.T / np.sqrt(k.shape[1]))
            read.append(e / e.sum(1, keepdims=True) @ v)
        seen = np.hstack(read)
        if attention == "multihead":
            seen = dense(a["out"], seen)
        # the second path: every query sees the mean of the context as well
        seen = np.hstack([seen, np.broadcast_to(r.mean(0), (len(x), r.shape[1]))])
    hidden = relu(dense(p["decoder"]["layer1"], np.hstack([x, seen])))
    mean, raw = np.split(dense(p["decoder"]["head"], hidden), 2, 1)
    return mean, 0.1 + 0.9 * np.log1p(np.exp(raw))


def test_prediction_is_the_papers(built, request, x64):
    made, meta, (support, query) = built
    attention = request.node.callspec.params["built"]
    fast = made.learner.adapt(meta, support, KEY)
    got = made.predictive(meta, fast, query.inputs)
    want = numpy_process(meta.params, attention, support, np.asarray(query.inputs))
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13)


def test_networks_train_where_the_loss_does(x64):
    """They are told `train`, a key each, and keep what they gathered; inference is not."""
    seen = []

    def spy(model, name):
        def apply(meta, inputs, *, train=False, key=None, weights=None):
            data = None if key is None else tuple(jax.random.key_data(key).tolist())
            seen.append((name, train, data))
            outputs, _ = model.apply(jm.Meta(meta.params), inputs)
            return outputs, {"passes": meta.buffers["passes"] + 1.0}

        def init(key, inputs):
            meta = model.init(key, inputs)
            return meta._replace(buffers={"passes": jnp.zeros(())})

        return jm.Model(init, apply)

    learner = jm.cnp(
        spy(body(), "encoder"),
        spy(jm.models.mlp(2, hidden=(8,)), "decoder"),
        attention="dot",
        keys=spy(body(4), "keys"),
    )
    episode = wide(TASK(KEY))
    meta = learner.init(KEY, episode)
    seen.clear()
    _, aux = learner.loss(meta, episode, KEY)
    assert sorted(name for name, *_ in seen) == ["decoder", "encoder", "keys"]
    assert all(train for _, train, _ in seen)
    assert len({data for *_, data in seen} - {None}) == 3
    assert {name: float(x["passes"]) for name, x in aux.buffers.items()} == dict(
        encoder=1, decoder=1, keys=1
    )
    seen.clear()
    fast = learner.adapt(meta, episode.support, KEY)
    learner.predict(meta, fast, episode.query.inputs)
    assert len(seen) == 4 and not any(train for _, train, _ in seen)


def test_query_only_loss():
    made, episode = process("none", predict_support=False), TASK(KEY)
    meta = made.learner.init(KEY, episode)
    value, aux = made.learner.loss(meta, episode, KEY)
    assert float(value) == float(aux.metrics["nll"])


def test_attention_by_hand(x64):
    made, episode = process("dot", summary=False), wide(TASK(KEY))
    meta = wide(made.learner.init(KEY, episode))
    keys, values, weights, summary = made.learner.adapt(meta, episode.support, KEY)
    assert (
        weights is None
        and summary is None
        and keys.shape == (5, 4)
        and values.shape == (5, 8)
    )
    # a lone example is all that attention can read, wherever the query is
    alone = jax.tree.map(lambda x: x[:1], episode.support)
    mean = process("none")
    other = jm.Meta(*({k: t[k] for k in ("encoder", "decoder")} for t in meta))
    inputs = episode.query.inputs
    got = made.predictive(meta, made.learner.adapt(meta, alone, KEY), inputs)
    want = mean.predictive(other, mean.learner.adapt(other, alone, KEY), inputs)
    np.testing.assert_allclose(got.mean, want.mean, rtol=1e-12)
    np.testing.assert_allclose(got.std, want.std, rtol=1e-12)


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: process("cosine"), "attention: got 'cosine'"),
        (lambda: process("none", min_std=0.0), "min_std: got 0.0"),
        (lambda: jm.cnp(body(), body(), keys=body()), "keys: got a model"),
        (
            lambda: jm.cnp(body(), jm.models.mlp(3)).init(KEY, TASK(KEY)),
            "decoder: got 3 outputs, wants 2",
        ),
    ],
)
def test_bad_options(build, text):
    with pytest.raises(ValueError, match=text):
        build()


def test_gaussian_against_scipy_and_by_sampling(x64):
    import scipy.stats

    rng = np.random.default_rng(0)
    mean, targets = rng.normal(size=(2, 5, 2))
    std = rng.uniform(0.1, 2.0, size=(5, 2))
    p, reference = (
        Gaussian(jnp.asarray(mean), jnp.asarray(std)),
        scipy.stats.norm(mean, std),
    )
    np.testing.assert_allclose(
        log_prob(p, targets), reference.logpdf(targets), rtol=1e-12
    )
    np.testing.assert_allclose(entropy(p), reference.entropy(), rtol=1e-12)
    drawn = sample(p, KEY, 20_000)
    # 10 means, each within 4 standard errors
    assert (np.abs(drawn.mean(0) - mean) < 4 * std / np.sqrt(20_000)).all()
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, drawn.shape), p)
    for level in (0.5, 0.9):
        inside = coverage(many, drawn, level=level)
        assert abs(inside - level) < 4 * np.sqrt(level * (1 - level) / drawn.size)
    with pytest.raises(ValueError, match="level: got 90"):
        coverage(p, targets, level=90)
    with pytest.raises(ValueError, match="prediction: got mean"):
        log_prob(p, targets[:1])
