"""Meta-Curvature starts as MAML and follows its matrices."""

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxmeta as jm
from tests.learners.family import KEY, begin, net, same, task, value_and_grad

pytestmark = pytest.mark.usefixtures("x64")


def at(meta, learner):
    """MAML's parameters beside the rule's first ones."""
    rule = learner.init(jax.random.key(0), task()).params["rule"]
    rule = jax.tree.map(lambda x: x.astype(jnp.float64), rule)
    return meta._replace(params={"model": meta.params, "rule": rule})


def test_identities_are_maml():
    plain = jm.maml(net(), optax.sgd(0.3), steps=2)
    learner = jm.meta_curvature(net(), optax.sgd(0.3), steps=2)
    meta = begin(plain)
    value, grads = value_and_grad(learner, at(meta, learner))
    same((value, grads["model"]), value_and_grad(plain, meta))
    assert all(g.any() for g in jax.tree.leaves(grads["rule"]))


def test_twice_the_output_matrix_is_twice_the_rate():
    plain = jm.maml(net(), optax.sgd(0.6), steps=2)
    learner = jm.meta_curvature(net(), optax.sgd(0.3), steps=2)
    inner = begin(plain)
    meta = at(inner, learner)
    matrices, rest = meta.params["rule"]
    double = jax.tree_util.tree_map_with_path(
        lambda path, m: 2 * m if path[-1].key == "o" else m, matrices
    )
    meta = meta._replace(params={"model": inner.params, "rule": (double, rest)})
    support = task().support
    same(learner.adapt(meta, support, KEY), plain.adapt(inner, support, KEY))
