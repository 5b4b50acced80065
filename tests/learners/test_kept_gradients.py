"""Loss and meta-gradient of every learner, as they were before `gradient=` came.

`kept_gradients.json` was written by the code before `jm.gradients` stood, in float64, and
the code after it gave the same bits. A method whose formula is meant to change has its row
written anew, and the changelog says so.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.learners.cases import CASES, body, head

KEPT = json.loads(Path(__file__).with_name("kept_gradients.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_a_meta_gradient_is_what_it_was(name, x64):
    """The loss, the length of its gradient, and its part along a drawn direction."""
    case = CASES[name]
    learner, episode = case.build(head, body), jax.jit(case.task)(jax.random.key(0))
    meta = jax.jit(learner.init)(jax.random.key(1), episode)
    meta, episode = jax.tree.map(_wide, (meta, episode))

    def loss(params):
        return learner.loss(meta._replace(params=params), episode, jax.random.key(2))[0]

    value, grads = jax.jit(jax.value_and_grad(loss))(meta.params)
    flat = np.concatenate(
        [np.ravel(x) for x in jax.tree.leaves(grads)] or [np.zeros(1)]
    )
    way = np.random.default_rng(0).normal(size=flat.size)
    found = value, np.linalg.norm(flat), flat @ way
    np.testing.assert_allclose(found, KEPT[name], rtol=1e-9, atol=1e-12)


def _wide(x):
    return x.astype("float64") if jnp.issubdtype(x.dtype, jnp.floating) else x
