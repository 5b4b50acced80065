"""Streams: the equations by hand, one example after another."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.gradients import implicit
from jaxmeta.testing import probe
from tests.learners.family import KEY, begin, differ, net, same, value_and_grad, wide

pytestmark = pytest.mark.usefixtures("x64")


def episode():
    return wide(probe(2, 2, 1, signal=1, noise=1, loudness=1.0)(jax.random.key(3)))


def error(params, batch):
    outputs, _ = net().apply(jm.Meta(params), batch.inputs)
    return jm.losses.cross_entropy(outputs, batch.targets)


def rows(batch):
    n = batch.targets.shape[0]
    return [jax.tree.map(lambda x, i=i: x[i : i + 1], batch) for i in range(n)]


def walked(theta, support, moves, loss=error):
    """The last weights, and the losses before each step."""
    losses = []
    for row in rows(support):
        value, grads = jax.value_and_grad(loss)(theta, row)
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


def modulated():
    features = jm.models.gated(net(None), net(None))
    return jm.models.with_head(features, jm.models.linear_head(2))


def by_hand_anml(theta, task):
    """The network written out; `walked` with the gates held."""

    def loss(params, batch):
        def layer(p, x):
            return jnp.tanh(x @ p["layer1"]["kernel"] + p["layer1"]["bias"])

        def line(p, x):
            return x @ p["kernel"] + p["bias"]

        x = batch.inputs.reshape(len(batch.inputs), -1)
        gate = line(params["gate"]["out"], layer(params["gate"]["model"], x))
        y = layer(params["model"], x) / (1 + jnp.exp(-gate))
        return jm.losses.cross_entropy(line(params["head"], y), batch.targets)

    phi, _ = walked(theta, task.support, lambda name: name != "gate", loss)
    return loss(phi, jax.tree.map(lambda *x: jnp.concatenate(x), *task))


def test_gates_learn_between_tasks_alone():
    task = episode()
    learner = jm.anml(modulated(), optax.sgd(0.3))
    meta = begin(learner, task)
    value, grads = value_and_grad(learner, meta, task)
    wants = jax.jit(jax.value_and_grad(by_hand_anml))(meta.params, task)
    same((value, grads), wants)
    assert all(float(jnp.abs(x).max()) > 1e-6 for x in jax.tree.leaves(grads["gate"]))
    fast = learner.adapt(meta, task.support, KEY)
    assert jax.tree.leaves(fast["gate"]) == []
    assert differ(fast["model"], meta.params["model"]) > 1e-3

    keys = jax.random.split(KEY, len(jax.tree.leaves(grads)))
    way = [
        jax.random.normal(k, x.shape)
        for k, x in zip(keys, jax.tree.leaves(grads), strict=True)
    ]
    way = jax.tree.unflatten(jax.tree.structure(grads), way)

    def along(t):
        params = jax.tree.map(lambda p, d: p + t * d, meta.params, way)
        return learner.loss(meta._replace(params=params), task, KEY)[0]

    slope = sum(
        jnp.vdot(a, b)
        for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(way), strict=True)
    )
    np.testing.assert_allclose(
        (along(1e-5) - along(-1e-5)) / 2e-5, slope, rtol=1e-7, atol=1e-9
    )


def test_open_gates_are_online_aware_meta_learning():
    """Of the network without gates, where all that is left moves."""
    task = episode()
    learner = jm.anml(modulated(), optax.sgd(0.3))
    meta = begin(learner, task)
    out = {"kernel": jnp.zeros((3, 3)), "bias": jnp.full(3, 50.0)}
    gate = {**meta.params["gate"], "out": out}
    value, grads = value_and_grad(
        learner, meta._replace(params={**meta.params, "gate": gate}), task
    )
    plain = jm.oml(net(), optax.sgd(0.3), head=lambda path: True)
    bare = {**meta.params["model"], "head": meta.params["head"]}
    want, slopes = value_and_grad(plain, jm.Meta(bare), task)
    same((value, {**grads["model"], "head": grads["head"]}), (want, slopes))


def test_the_last_layer_alone_is_oml_of_the_same_model():
    task = episode()
    meta = begin(jm.anml(modulated(), optax.sgd(0.3)), task)
    fast = jm.oml(modulated(), optax.sgd(0.3)).adapt(meta, task.support, KEY)
    moved = [jax.tree.leaves(fast[part]) for part in ("model", "gate", "head")]
    assert moved[:2] == [[], []] and len(moved[2]) == 2


def test_a_network_without_gates_is_refused():
    learner = jm.anml(net(), optax.sgd(0.3))
    with pytest.raises(ValueError, match="gate: selects none of the parameters"):
        learner.init(KEY, episode())


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
