"""What the tests of the gradient-based family share: a tiny smooth net and its tasks."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxmeta as jm
from jaxmeta.testing import probe

KEY = jax.random.key(5)


def net(outputs=2, **options):
    """A net without kinks: finite differences can be held against its gradient."""
    return jm.models.mlp(outputs, hidden=(3,), activation=jnp.tanh, **options)


def task(ways=2):
    return wide(probe(ways, 1, 1, signal=1, noise=1, loudness=1.0)(jax.random.key(3)))


def wide(tree):
    """Floats to float64 where that is switched on."""
    dtype = jnp.zeros(()).dtype
    return jax.tree.map(
        lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def begin(learner, episode=None):
    """The learner's first `Meta`, moved a little away from zeros and ones."""
    meta = wide(learner.init(jax.random.key(1), episode or task()))
    leaves, treedef = jax.tree.flatten(meta.params)
    keys = jax.random.split(jax.random.key(2), len(leaves))
    moved = [
        x + 0.05 * jax.random.normal(k, x.shape)
        for k, x in zip(keys, leaves, strict=True)
    ]
    return meta._replace(params=jax.tree.unflatten(treedef, moved))


def value_and_grad(learner, meta, episode=None):
    """`(value, gradient in meta.params)`, compiled."""
    episode = episode or task()

    def loss(params):
        return learner.loss(meta._replace(params=params), episode, KEY)[0]

    return jax.jit(jax.value_and_grad(loss))(meta.params)


def same(a, b, tol=1e-12):
    """Two trees of one structure with the same numbers."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=tol, atol=tol)


def differ(a, b):
    """How far two trees are apart."""
    gaps = jax.tree.map(lambda x, y: float(jnp.max(jnp.abs(x - y))), a, b)
    return max(jax.tree.leaves(gaps))
