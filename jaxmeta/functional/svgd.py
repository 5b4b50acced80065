"""Stein variational gradient descent: particles that descend a loss and keep apart.

Liu, Wang 2016, Stein Variational Gradient Descent, https://arxiv.org/abs/1608.04471.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.core import Array, Scalar
from jaxmeta.functional.distances import squared_euclidean
from jaxmeta.functional.kernels import rbf
from jaxmeta.shapes import Float


def particle_bandwidth(x: Float[Array, "m d"]) -> Scalar:
    """The median heuristic, `sigma^2 = med^2 / (2 log M)`, med the median distance of a pair.

    Then every particle weighs about 1 on itself and 1 on all the others together:
    sum_j exp(-med^2 / (2 sigma^2)) = M exp(-log M) = 1. One particle, or particles that
    all coincide, have no distance to go by and get 1.

    Args:
      x: particles `[m, d]`.

    Returns:
      sigma^2, a positive scalar (see `functional.kernels`).

    >>> s = particle_bandwidth(jnp.array([[0.0], [1.0], [2.0]]))  # distances 1, 1, 2
    >>> bool(jnp.allclose(s, 1 / (2 * jnp.log(3.0))))
    True
    """
    m = x.shape[0]
    if m == 1:
        return jnp.ones((), x.dtype)
    pairs = jnp.sort(squared_euclidean(x, x)[jnp.triu_indices(m, 1)])
    middle = jnp.stack([pairs[(pairs.size - 1) // 2], pairs[pairs.size // 2]])
    # sqrt has no derivative at 0
    apart = middle > 0
    median = jnp.where(apart, jnp.sqrt(jnp.where(apart, middle, 1.0)), 0.0).mean()
    return jnp.where(median > 0, jnp.square(median) / (2 * math.log(m)), 1.0)


def kernel_and_push(
    x: Float[Array, "m d"], bandwidth: Array | float
) -> tuple[Float[Array, "m m"], Float[Array, "m d"]]:
    """The kernel of all pairs of particles, and its gradient, summed.

        k_ij = exp(-||x_i - x_j||^2 / (2 sigma^2))
        r_i = sum_j d k(x_j, x_i) / d x_j = sum_j (x_i - x_j) k_ij / sigma^2

    Args:
      x: particles `[m, d]`.
      bandwidth: sigma^2, positive.

    Returns:
      `(k [m, m], r [m, d])`; r drives particles apart.

    >>> k, r = kernel_and_push(jnp.array([[0.0], [1.0]]), 1.0)
    >>> bool(jnp.allclose(r[1], jnp.exp(-0.5))), r.sum().item()
    (True, 0.0)
    """
    # only differences count: particles close together cancel less about their middle
    x = x - lax.stop_gradient(x.mean(0))
    k = rbf(x, x, bandwidth)
    return k, (x * k.sum(1, keepdims=True) - k @ x) / bandwidth


def direction(
    x: Float[Array, "m d"],
    grads: Float[Array, "m d"],
    *,
    repulsion: float | Array = 1.0,
    bandwidth: Array | float | None = None,
) -> Float[Array, "m d"]:
    """The descent direction of Stein variational gradient descent, negated eq. 8.

        u_i = 1/M sum_j [ k_ij grad_j L - repulsion d k(x_j, x_i) / d x_j ]

    With L = -log p it is minus the paper's phi*, to be subtracted like a gradient. One
    particle has u = grad L.

    Args:
      x: particles `[m, d]`.
      grads: the gradient of the loss at each, `[m, d]`.
      repulsion: weight of the kernel's gradient: 1 if L is a negative log-posterior, 1/n
        if it is the mean over n examples of one.
      bandwidth: sigma^2 of the kernel; by default `particle_bandwidth(x)`.

    Returns:
      `[m, d]`.

    Raises:
      ValueError: if the shapes differ.

    >>> direction(jnp.array([[2.0]]), jnp.array([[3.0]])).tolist()
    [[3.0]]
    """
    if x.ndim != 2 or x.shape != grads.shape:
        raise ValueError(
            f"grads: got shape {grads.shape}, wants that of the particles {x.shape}, [m, d]"
        )
    bandwidth = particle_bandwidth(x) if bandwidth is None else bandwidth
    k, push = kernel_and_push(x, bandwidth)
    return (k @ grads - repulsion * push) / x.shape[0]


def rows(tree) -> Float[Array, "m d"]:
    """Particles as rows: leaves `[m, ...]` of a tree, side by side, `[m, d]`.

    >>> rows({"a": jnp.ones((2, 3)), "b": jnp.zeros((2,))}).shape
    (2, 4)
    """
    leaves = jax.tree.leaves(tree)
    return jnp.concatenate([leaf.reshape(leaf.shape[0], -1) for leaf in leaves], 1)


def unrows(x: Float[Array, "m d"], like):
    """The inverse of `rows`, in the shapes of `like`.

    >>> like = {"a": jnp.ones((2, 3)), "b": jnp.zeros((2,))}
    >>> jax.tree.map(jnp.shape, unrows(rows(like), like))
    {'a': (2, 3), 'b': (2,)}
    """
    leaves, treedef = jax.tree.flatten(like)
    parts, at = [], 0
    for leaf in leaves:
        width = leaf.size // leaf.shape[0]
        parts.append(x[:, at : at + width].reshape(leaf.shape))
        at += width
    return jax.tree.unflatten(treedef, parts)
