"""Proto-MAML: a prototypical network before its first step, MAML after it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from tests.learners.family import KEY, begin, differ, net, same, task, value_and_grad

pytestmark = pytest.mark.usefixtures("x64")

sgd = optax.sgd(0.3)


def test_zero_steps_are_a_prototypical_network():
    proto, plain = jm.proto_maml(net(None), sgd, steps=0), jm.protonet(net(None))
    meta = begin(plain)
    same(value_and_grad(proto, meta), value_and_grad(plain, meta))
    # the linear head is the distance up to ||f||^2, which softmax does not see
    fast = proto.adapt(meta, task().support, KEY)
    c = plain.adapt(meta, task().support, KEY)
    same(fast["head"], {"kernel": 2 * c.T, "bias": -jnp.sum(c**2, -1)})
    x = task().query.inputs
    gap = proto.predict(meta, fast, x) - plain.predict(meta, c, x)
    np.testing.assert_allclose(gap, gap[:, :1] * jnp.ones((1, 2)), rtol=1e-12)


def test_one_step_is_the_step_written_by_hand():
    learner = jm.proto_maml(net(None), sgd, steps=1)
    meta, (support, query) = begin(learner), task()

    def logits(phi, x):
        body = phi["body"]["layer1"]
        f = jnp.tanh(x @ body["kernel"] + body["bias"])
        return f @ phi["w"] + phi["b"], f

    def loss(phi, batch):
        z, _ = logits(phi, batch.inputs)
        return -jnp.mean(jnp.sum(batch.targets * jax.nn.log_softmax(z), -1))

    def outer(params):
        empty = {"body": params, "w": jnp.zeros((3, 2)), "b": jnp.zeros(2)}
        _, f = logits(empty, support.inputs)
        c = jnp.stack([f[support.targets[:, k] == 1].mean(0) for k in range(2)])
        phi = {"body": params, "w": 2 * c.T, "b": -jnp.sum(c**2, -1)}
        grads = jax.grad(loss)(phi, support)
        return loss(jax.tree.map(lambda p, g: p - 0.3 * g, phi, grads), query)

    same(value_and_grad(learner, meta), jax.value_and_grad(outer)(meta.params))


def test_the_class_count_is_free():
    learner = jm.proto_maml(net(None), jm.rules.lslr(0.1, steps=2), steps=2)
    meta = begin(learner)
    for ways in (2, 4):
        episode = task(ways)
        fast = learner.adapt(meta, episode.support, KEY)
        outputs = learner.predict(meta, fast, episode.query.inputs)
        assert outputs.shape == episode.query.targets.shape


def test_the_head_can_adapt_alone():
    learner = jm.proto_maml(net(None), sgd, steps=2, adapt_only=lambda path: False)
    meta = begin(learner)
    fast = learner.adapt(meta, task().support, KEY)
    assert not jax.tree.leaves(fast["body"])
    start = jm.proto_maml(net(None), sgd, steps=0).adapt(meta, task().support, KEY)
    assert differ(fast["head"], start["head"]) > 1e-3
