"""Every gradient-based learner's gradient against finite differences."""

import jax
import jax.numpy as jnp
import optax
import pytest
from jax.test_util import check_grads

import jaxmeta as jm
from tests.learners.family import KEY, begin, net, task

pytestmark = pytest.mark.usefixtures("x64")

sgd = optax.sgd(0.3)
EXACT = jm.gradients.implicit(solver=jm.gradients.cg(steps=40))
LEARNERS = {
    "maml": lambda: jm.maml(net(), sgd, steps=2),
    "anil": lambda: jm.anil(net(), sgd, steps=2),
    "boil": lambda: jm.boil(net(), sgd, steps=2),
    "adam": lambda: jm.maml(net(), jm.rules.adam(0.1, eps_root=1e-2), steps=2),
    "clipped": lambda: jm.maml(
        net(), optax.chain(jm.rules.clip_by_global_norm(0.1), sgd), steps=2
    ),
    "learned momentum": lambda: jm.maml(
        net(), jm.rules.learn_state(jm.rules.momentum(0.3, 0.5)), steps=2
    ),
    "meta_sgd": lambda: jm.meta_sgd(net(), init_rate=0.3, steps=2),
    "meta_curvature": lambda: jm.meta_curvature(net(), sgd, steps=2),
    "maml_plus_plus": lambda: jm.maml_plus_plus(
        net(), steps=2, init_rate=0.3, first_order_epochs=0
    ),
    "cavia": lambda: jm.cavia(net(), optax.sgd(1.0), context=2, steps=2),
    "cavia_film": lambda: jm.cavia(
        net(), optax.sgd(1.0), context=2, film="layer1", steps=2
    ),
    "proto_maml": lambda: jm.proto_maml(net(None), sgd, steps=2),
    # the implicit gradient is that of the minimum: walk all the way, solve exactly
    "imaml": lambda: jm.imaml(net(), sgd, steps=300, lam=1.0, gradient=EXACT),
    "imaml_body": lambda: jm.imaml(
        net(),
        sgd,
        steps=300,
        lam=1.0,
        gradient=EXACT,
        adapt_only=lambda p: p[:4] != "head",
    ),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_finite_differences(name):
    learner, episode = LEARNERS[name](), task()
    meta = begin(learner, episode)

    @jax.jit
    def loss(params):
        return learner.loss(meta._replace(params=params), episode, KEY)[0]

    check_grads(loss, (meta.params,), order=1, modes=["rev"])
    grads = jax.grad(loss)(meta.params)
    # no parameter is left out: a gradient of zeros would be a silent mistake
    assert all(jnp.any(g != 0) for g in jax.tree.leaves(grads))
