"""BOIL and ANIL: which half moves; the identities around them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from tests.learners.family import KEY, begin, differ, net, same, task, value_and_grad

pytestmark = pytest.mark.usefixtures("x64")

sgd = optax.sgd(0.3)


def test_the_head_stays_and_the_body_moves():
    learner = jm.boil(net(), sgd, steps=2)
    meta = begin(learner)
    fast = learner.adapt(meta, task().support, KEY)
    assert fast["head"] == {"bias": None, "kernel": None}
    assert differ(fast["layer1"], meta.params["layer1"]) > 1e-3
    # the head is the meta-learned one: predictions are its linear map of the features
    x = task().query.inputs
    body, head = fast["layer1"], meta.params["head"]
    features = jnp.tanh(x @ body["kernel"] + body["bias"])
    expected = features @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(learner.predict(meta, fast, x), expected, rtol=1e-12)
    # and it is still meta-learned
    _, grads = value_and_grad(learner, meta)
    assert all(g.any() for g in jax.tree.leaves(grads["head"]))


def test_where_everything_is_the_head_anil_is_maml():
    plain = jm.maml(net(), sgd, steps=2)
    meta = begin(plain)
    expected = value_and_grad(plain, meta)
    same(value_and_grad(jm.anil(net(), sgd, steps=2, head=bool), meta), expected)


def test_without_a_head_boil_is_refused():
    """It would be MAML, and nobody would know."""
    learner = jm.boil(net(), sgd, steps=2, head=lambda path: False)
    meta = jm.maml(net(), sgd).init(KEY, task())
    for run in (learner.loss, lambda meta, episode, key: learner.init(key, episode)):
        with pytest.raises(ValueError, match="head: selects none of the parameters"):
            run(meta, task(), KEY)


def test_a_head_that_is_everything_is_refused():
    learner = jm.boil(net(), sgd, head=lambda path: True)
    meta = jm.maml(net(), sgd).init(KEY, task())
    with pytest.raises(ValueError, match="adapt_only: selects none of the parameters"):
        learner.loss(meta, task(), KEY)


def test_zero_steps_are_joint_training():
    learner = jm.maml(net(), sgd, steps=0)
    meta = begin(learner)

    def joint(params):
        outputs, _ = net().apply(jm.Meta(params), task().query.inputs, train=True)
        return jm.losses.cross_entropy(outputs, task().query.targets)

    same(value_and_grad(learner, meta), jax.value_and_grad(joint)(meta.params))
