"""Distances between queries and class representatives, as scores to be softmaxed."""

import jax.numpy as jnp
from jax import lax

from jaxmeta.core import Array
from jaxmeta.shapes import Float


def squared_euclidean(
    a: Float[Array, "n d"], b: Float[Array, "c d"]
) -> Float[Array, "n c"]:
    """All pairwise squared Euclidean distances, summed (not averaged) over dimensions.

        d_ij = ||a_i - b_j||^2

    Written as a sum of squared differences: the expansion ||a||^2 - 2ab + ||b||^2 needs
    less memory, but cancels in float32 where the points are close.

    Args:
      a: `[n, d]`.
      b: `[c, d]`.

    Returns:
      `[n, c]`, squared units of the features.

    >>> squared_euclidean(jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]])).tolist()
    [[25.0]]
    """
    return jnp.sum(jnp.square(a[:, None, :] - b[None, :, :]), -1)


def cosine_similarity(
    a: Float[Array, "n d"], b: Float[Array, "c d"]
) -> Float[Array, "n c"]:
    """All pairwise cosines; 0 where either vector is zero, with gradient zero there.

        s_ij = a_i . b_j / (||a_i|| ||b_j||)

    Args:
      a: `[n, d]`.
      b: `[c, d]`.

    Returns:
      `[n, c]` in [-1, 1].

    >>> cosine_similarity(jnp.array([[2.0, 0.0]]), jnp.eye(2)).tolist()
    [[1.0, 0.0]]
    """
    return unit(a) @ unit(b).T


def cosine_distance(
    a: Float[Array, "n d"], b: Float[Array, "c d"]
) -> Float[Array, "n c"]:
    """One minus the cosine, for all pairs.

        d_ij = 1 - a_i . b_j / (||a_i|| ||b_j||)

    Args:
      a: `[n, d]`.
      b: `[c, d]`.

    Returns:
      `[n, c]` in [0, 2]: as logits nearly flat, so divide by a temperature of 0.1 or so.

    >>> cosine_distance(jnp.array([[2.0, 0.0]]), jnp.eye(2)).tolist()
    [[0.0, 1.0]]
    """
    return 1.0 - cosine_similarity(a, b)


def unit(x: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Rows divided by their Euclidean norm; a zero row stays zero, with gradient zero.

        x_i / ||x_i||

    A direction has no scale: a row of 1e-30 has length 1 afterwards as one of 1e30 has.
    Only a row that is zero, or has no entry that is a normal number (1e-38 in float32),
    counts as zero. The gradient grows as 1 / ||x_i||, as that of the quotient does.

    Args:
      x: `[n, d]`.

    Returns:
      `[n, d]`.

    >>> unit(jnp.array([[0.0, 2.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    # The largest entry is taken out before the square, which would leave the range of
    # float32. It is a factor that cancels: it can be held constant.
    most = lax.stop_gradient(jnp.max(jnp.abs(x), -1, keepdims=True))
    there = ~(most < jnp.finfo(x.dtype).tiny)
    x = x / jnp.where(there, most, 1.0)
    # sqrt has an infinite slope at 0: keep 0 out of it, not only out of the quotient
    squared = jnp.where(there, jnp.sum(jnp.square(x), -1, keepdims=True), 1.0)
    # 0 x and not 0: a row of NaN stays NaN, even where the maximum has lost it, as
    # XLA's does on CPUs from some thousand numbers on (seen with jaxlib 0.10.2)
    return jnp.where(there, x / jnp.sqrt(squared), 0.0 * x)
