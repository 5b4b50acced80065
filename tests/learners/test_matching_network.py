"""Matching networks: the kernel regression of the paper, and its context."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from tests.learners.embedded import episode, linear, predict, ready

pytestmark = pytest.mark.usefixtures("x64")


def test_log_probabilities_are_the_papers_sum():
    learner = jm.matching_network(linear(), temperature=0.5)
    meta, task = ready(learner)
    out = np.asarray(predict(learner, meta, task))
    np.testing.assert_allclose(np.exp(out).sum(1), 1.0, rtol=1e-14)
    w = np.asarray(meta.params["model"]["w"])
    f, g = (np.asarray(b.inputs) @ w for b in (task.query, task.support))
    f, g = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (f, g))
    a = np.exp(f @ g.T / 0.5)
    p = a @ np.asarray(task.support.targets) / a.sum(1, keepdims=True)
    np.testing.assert_allclose(out, np.log(p), rtol=1e-10)
    value, aux = learner.loss(meta, task, jax.random.key(0))
    expected = -np.mean(np.sum(task.query.targets * np.log(p), 1))
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    assert set(aux.metrics) == {"accuracy"}


def test_floor_of_the_published_temperature():
    """At T = 1, five ways and one shot, a perfect match still costs 0.43 nats."""
    same = jm.Batch(jnp.eye(5), jnp.eye(5))
    model = jm.Model(lambda key, x: jm.Meta({}), lambda meta, x, **_: (x, ()))

    def best(a, b):  # cosines of the right and the wrong class at their extremes
        return 2 * jnp.eye(5) - 1

    def loss(temperature):
        learner = jm.matching_network(model, temperature=temperature, similarity=best)
        meta = jm.Meta({"model": {}, "head": {}})
        return learner.loss(meta, jm.Episode(same, same), jax.random.key(0))[0]

    np.testing.assert_allclose(loss(1.0), np.log(1 + 4 * np.exp(-2)), rtol=1e-12)
    assert loss(0.1) < 1e-7


def test_learned_temperature_has_a_gradient_and_a_start():
    learner = jm.matching_network(linear(), temperature=0.3, learn_temperature=True)
    fixed = jm.matching_network(linear(), temperature=0.3)
    meta, task = ready(learner)
    plain = jm.Meta({"model": meta.params["model"], "head": {}})
    key = jax.random.key(0)
    np.testing.assert_allclose(
        learner.loss(meta, task, key)[0], fixed.loss(plain, task, key)[0], rtol=1e-12
    )
    grads = jax.grad(lambda p: learner.loss(jm.Meta(p), task, key)[0])(meta.params)
    assert abs(grads["head"]["log_temperature"]) > 1e-3


@pytest.fixture(scope="module")
def context():
    with jax.enable_x64(True):
        learner = jm.matching_network(linear(), full_context=True, steps=2)
        meta, task = ready(learner)
        run = jax.jit(lambda meta, task, key: predict(learner, meta, task, key))
        return run, meta, task


def test_context_matters_and_its_order_follows_the_key(context):
    run, meta, task = context
    one, two = jax.random.split(jax.random.key(5))
    out = run(meta, task, one)
    np.testing.assert_allclose(jnp.exp(out).sum(1), 1.0, rtol=1e-13)
    np.testing.assert_array_equal(out, run(meta, task, one))
    assert np.abs(out - run(meta, task, two)).max() > 1e-6
    zeros = jax.tree.map(jnp.zeros_like, meta.params["head"])
    bare = jm.matching_network(linear())
    params = {"model": meta.params["model"], "head": {}}
    plain = predict(bare, jm.Meta(params), task)
    # LSTMs of zeros add nothing: full context is then matching without context
    muted = jm.Meta({"model": meta.params["model"], "head": zeros})
    np.testing.assert_allclose(run(muted, task, one), plain, rtol=1e-10)
    assert np.abs(out - plain).max() > 1e-3


def test_context_passes_padding_by(context):
    run, meta, task = context
    x, t = task.support[:2]
    weights = jnp.concatenate([jnp.ones(len(t)), jnp.zeros(2)])
    padded = jm.Batch(
        jnp.concatenate([x, x[:2] + 1]), jnp.concatenate([t, t[:2]]), weights
    )
    key = jax.random.key(6)
    got = run(meta, task._replace(support=padded), key)
    np.testing.assert_allclose(got, run(meta, task, key), rtol=1e-12)


def test_bad_temperature():
    with pytest.raises(ValueError, match=r"temperature: got 0\.0"):
        jm.matching_network(linear(), temperature=0.0)
    with pytest.raises(ValueError, match="steps: got -1"):
        jm.matching_network(linear(), steps=-1)


def test_other_similarities():
    learner = jm.matching_network(linear(), similarity=lambda a, b: a @ b.T)
    meta, _ = ready(learner)
    assert np.all(np.isfinite(predict(learner, meta, episode(1))))
