"""Meta-transfer: what its gradient is, in both orders, and where it starts."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.test_util import check_grads

import jaxmeta as jm
from tests.learners.family import KEY, differ, same, task, value_and_grad

pytestmark = pytest.mark.usefixtures("x64")
RATE = 0.5


def body():
    return jm.models.mlp(None, hidden=(3,), activation=jnp.tanh)


WAYS = {"second": jm.gradients.unrolled(), "first": jm.gradients.first_order}


def built(order="second", steps=2, **options):
    learner = jm.meta_transfer(
        body(), optax.sgd(RATE), steps=steps, gradient=WAYS[order], **options
    )
    episode = task()
    meta = learner.init(jax.random.key(1), episode)
    names, treedef = jax.tree.flatten(meta.params)
    keys = jax.random.split(jax.random.key(2), len(names))
    moved = [
        x + 0.3 * jax.random.normal(k, x.shape)
        for k, x in zip(keys, names, strict=True)
    ]
    return learner, meta._replace(params=treedef.unflatten(moved)), episode


def by_hand(meta, episode, order):
    """The loss, written out: features once, K steps on the head, the query."""
    frozen = meta.buffers["params"]["layer1"]
    hold = jax.lax.stop_gradient if order == "first" else lambda x: x

    def loss(params):
        scale = params["model"]["scale"]["layer1/kernel"]
        shift = params["model"]["shift"]["layer1/bias"]
        s, q = (
            jnp.tanh(x.inputs @ (frozen["kernel"] * scale) + frozen["bias"] + shift)
            for x in episode
        )

        def nll(head, x, t):
            logits = x @ head["kernel"] + head["bias"]
            return -jnp.mean(jnp.sum(t * jax.nn.log_softmax(logits), -1))

        head = params["head"]
        for _ in range(2):
            grads = hold(jax.grad(nll)(head, s, episode.support.targets))
            head = jax.tree.map(lambda p, g: p - RATE * g, head, grads)
        return nll(head, q, episode.query.targets)

    return jax.value_and_grad(loss)(meta.params)


@pytest.mark.parametrize("order", ["second", "first"])
def test_value_and_gradient_are_those_of_the_equations(order):
    learner, meta, episode = built(order)
    value, grads = value_and_grad(learner, meta, episode)
    expected, expected_grads = by_hand(meta, episode, order)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    same(grads, expected_grads)


def test_the_orders_differ_in_scale_and_in_head():
    learner, meta, episode = built("second")
    second = value_and_grad(learner, meta, episode)[1]
    first = value_and_grad(built("first")[0], meta, episode)[1]
    assert differ(first["head"], second["head"]) > 1e-4
    assert differ(first["model"], second["model"]) > 1e-4


def test_gradient_by_finite_differences():
    learner, meta, episode = built()
    loss = jax.jit(lambda p: learner.loss(meta._replace(params=p), episode, KEY)[0])
    check_grads(loss, (meta.params,), 1, modes=["rev"])


def test_it_starts_as_the_frozen_network_with_a_new_head():
    episode = task()
    whole = jm.models.mlp(7, hidden=(3,), activation=jnp.tanh)
    pretrained = whole.init(jax.random.key(9), episode.support.inputs)
    known = jm.models.pretrained(body(), pretrained)
    learner = jm.meta_transfer(known, optax.sgd(RATE), steps=3)
    meta = learner.init(KEY, episode)
    net = jm.models.with_head(body(), jm.models.linear_head(2))
    fresh = net.init(KEY, episode.support.inputs)
    old = jm.transfer.transplant(pretrained, fresh)
    anil = jm.anil(net, optax.sgd(RATE), steps=3)
    got, expected = (
        jm.train.predictions(one, theta, episode, KEY)
        for one, theta in ((learner, meta), (anil, old))
    )
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert learner.loss(meta, episode, KEY)[1].buffers is None


def test_a_given_head_and_a_learned_rule():
    learner = jm.meta_transfer(
        body(), jm.rules.meta_sgd(0.1), head=jm.models.cosine_head(2), steps=1
    )
    meta = learner.init(KEY, task())
    assert set(meta.params["head"]) == {"model", "rule"}
    assert jnp.isfinite(learner.loss(meta, task(), KEY)[0])


def test_errors_name_the_field():
    with pytest.raises(ValueError, match="gradient: got 'third'"):
        jm.meta_transfer(body(), optax.sgd(0.1), gradient="third")
    with pytest.raises(ValueError, match="steps: got -1"):
        jm.meta_transfer(body(), optax.sgd(0.1), steps=-1)
    other = jm.models.mlp(None, hidden=(4,)).init(KEY, task().support.inputs)
    learner = jm.meta_transfer(jm.models.pretrained(body(), other), optax.sgd(0.1))
    with pytest.raises(ValueError, match="layer1/bias: got shape"):
        learner.init(KEY, task())
