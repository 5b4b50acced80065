"""Streams: the equations by hand, one example after another."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.gradients import implicit
from jaxmeta.testing import probe
from tests.learners.family import KEY, begin, net, same, value_and_grad, wide

pytestmark = pytest.mark.usefixtures("x64")


def episode():
    return wide(probe(2, 2, 1, signal=1, noise=1, loudness=1.0)(jax.random.key(3)))


def error(params, batch):
    outputs, _ = net().apply(jm.Meta(params), batch.inputs)
    return jm.losses.cross_entropy(outputs, batch.targets)


def rows(batch):
    n = batch.targets.shape[0]
    return [jax.tree.map(lambda x, i=i: x[i : i + 1], batch) for i in range(n)]


def walked(theta, support, moves):
    """The last weights, and the losses before each step."""
    losses = []
    for row in rows(support):
        value, grads = jax.value_and_grad(error)(theta, row)
        losses.append(value)
        theta = jax.tree_util.tree_map_with_path(
            lambda path, p, g: p - 0.3 * g if moves(path[0].key) else p, theta, grads
        )
    return theta, losses


def by_hand_oml(theta, task):
    phi, _ = walked(theta, task.support, lambda name: name == "head")
    both = jax.tree.map(lambda *x: jnp.concatenate(x), *task)
    return error(phi, both)


def by_hand_online(theta, task):
    phi, losses = walked(theta, task.support, lambda name: True)
    losses += [error(phi, row) for row in rows(task.query)]
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    ("build", "by_hand"),
    [(jm.oml, by_hand_oml), (jm.online_maml, by_hand_online)],
)
def test_value_and_gradient_are_those_of_the_equations(build, by_hand):
    task = episode()
    learner = build(net(), optax.sgd(0.3))
    meta = begin(learner, task)
    same(
        value_and_grad(learner, meta, task),
        jax.jit(jax.value_and_grad(by_hand))(meta.params, task),
    )
    fast = learner.adapt(meta, task.support, KEY)
    if build is jm.oml:
        want, _ = walked(meta.params, task.support, lambda name: name == "head")
        same(fast["head"], want["head"])


@pytest.mark.parametrize("build", [jm.oml, jm.online_maml])
def test_its_order_counts_and_padding_does_not(build):
    task = episode()
    learner = build(net(), optax.sgd(0.3))
    meta = begin(learner, task)
    backwards = jax.tree.map(lambda x: x[::-1], task.support)
    value = learner.loss(meta, task, KEY)[0]
    assert (
        abs(value - learner.loss(meta, task._replace(support=backwards), KEY)[0]) > 1e-6
    )
    support = task.support._replace(weights=jnp.ones(4))
    padded = jax.tree.map(lambda x: jnp.concatenate([x[:2], 0 * x[:1], x[2:]]), support)
    padded = task._replace(support=padded)
    np.testing.assert_allclose(learner.loss(meta, padded, KEY)[0], value, rtol=1e-12)


@pytest.mark.parametrize("build", [jm.oml, jm.online_maml])
def test_refuses(build):
    with pytest.raises(ValueError, match=r"gradient: got Implicit\(...\)"):
        build(net(), optax.sgd(0.3), gradient=implicit())
