"""Gaussian kernels between two samples, and how far apart they say the samples are.

Everywhere in this library a bandwidth is sigma^2 of k = exp(-||a - b||^2 / (2 sigma^2)):
`gamma` elsewhere is 1 / (2 sigma^2), the h of SVGD's paper 2 sigma^2.

Gretton et al. 2012, A Kernel Two-Sample Test, JMLR 13:723-773; Long et al. 2015, Deep
Adaptation Networks, https://arxiv.org/abs/1502.02791.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from jaxmeta.core import Array, Scalar
from jaxmeta.functional.distances import squared_euclidean
from jaxmeta.functional.spectral import same_features
from jaxmeta.shapes import Float

OCTAVES = (-3, -2, -1, 0, 1)
AT_ONCE = 2**24  # differences held at a time


def _apart(a: Array, b: Array) -> Array:
    """`squared_euclidean`; of large samples so many rows at a time as memory has room.

    Compiled, its differences are never held; run op by op they are, and two samples of
    a thousand points of a thousand features make 4 GB of them.
    """
    if a.size * len(b) <= AT_ONCE:
        return squared_euclidean(a, b)
    rows = max(AT_ONCE // max(b.size, 1), 1)
    return lax.map(lambda x: squared_euclidean(x[None], b)[0], a, batch_size=rows)


def median_bandwidth(a: Float[Array, "n d"], b: Float[Array, "m d"]) -> Scalar:
    """The median heuristic: sigma^2 is the median squared distance between the samples.

    Args:
      a: `[n, d]`.
      b: `[m, d]`.

    Returns:
      sigma^2, a positive scalar (1 where more than half of the pairs coincide).

    >>> float(median_bandwidth(jnp.zeros((2, 1)), jnp.full((3, 1), 2.0)))
    4.0
    """
    middle = jnp.median(_apart(a, b))
    return jnp.where(middle > 0, middle, 1.0)


def rbf(
    a: Float[Array, "n d"], b: Float[Array, "m d"], bandwidth: float | Array
) -> Float[Array, "n m"]:
    """The Gaussian kernel.

        k_ij = exp(-||a_i - b_j||^2 / (2 sigma^2))

    Args:
      a: `[n, d]`.
      b: `[m, d]`.
      bandwidth: sigma^2, > 0.

    Returns:
      `[n, m]` in (0, 1].

    >>> rbf(jnp.zeros((1, 1)), jnp.array([[0.0]]), 1.0).tolist()
    [[1.0]]
    """
    return jnp.exp(-_apart(a, b) / (2 * bandwidth))


def mmd(
    source: Float[Array, "n d"],
    target: Float[Array, "m d"],
    *,
    weights: Float[Array, " n"] | None = None,
    bandwidth: float | Array | None = None,
    octaves: Sequence[int] = OCTAVES,
    biased: bool = False,
) -> Scalar:
    """The squared maximum mean discrepancy of two samples, for a sum of Gaussian kernels.

        MMD^2 = mean_{i != j} k(s_i, s_j) + mean_{i != j} k(t_i, t_j)
                - 2 mean_{i, j} k(s_i, t_j),
        k(x, y) = sum_u exp(-||x - y||^2 / (2 2^u sigma^2))

    The unbiased estimate is negative about half of the time where the two distributions
    are the same. The biased one keeps i = j and is never negative. sigma^2 is held
    constant in the gradient: a network could otherwise shrink the distance by blowing up
    its scale.

    Args:
      source: `[n, d]`, n >= 2.
      target: `[m, d]`, m >= 2; m may differ from n.
      weights: of the source, `[n]`, or `None` for all 1: a pair counts the product of
        its two. What a row of weight 0 holds does not matter, as long as it is finite.
      bandwidth: sigma^2; by default the mean squared distance over all pairs of
        different points of the two samples together.
      octaves: the exponents u.
      biased: keep the diagonal.

    Returns:
      A scalar.

    Raises:
      ValueError: for fewer than two examples, or features that differ in size.

    References:
      Gretton et al. 2012, eqs. 3 and 5; Long et al. 2015, arXiv:1502.02791, sec. 3.

    >>> x = jnp.arange(6.0).reshape(3, 2)
    >>> float(mmd(x, x, biased=True))
    0.0
    """
    same_features(source, target)
    n, ones = len(source), jnp.ones(len(target), target.dtype)
    w = jnp.ones(n, source.dtype) if weights is None else weights.astype(source.dtype)
    every = jnp.concatenate([w, ones])
    both = jnp.concatenate([source, target])
    d = _apart(both, both)
    if bandwidth is None:
        bandwidth = _mean_of_pairs(d, every, every, apart=True)
    bandwidth = lax.stop_gradient(bandwidth)
    bandwidth = jnp.where(bandwidth > 0, bandwidth, 1.0)
    each = [jnp.exp(-d / (2 * 2.0**u * bandwidth)) for u in octaves]
    k = sum(each[1:], each[0])
    within_s, within_t, across = k[:n, :n], k[n:, n:], k[:n, n:]
    return (
        _mean_of_pairs(within_s, w, w, apart=not biased)
        + _mean_of_pairs(within_t, ones, ones, apart=not biased)
        - 2 * _mean_of_pairs(across, w, ones)
    )


def _mean_of_pairs(
    values: Array, rows: Array, columns: Array, apart: bool = False
) -> Scalar:
    """A mean weighed by both ends of a pair; `apart` leaves out an example with itself."""
    pairs = rows[:, None] * columns
    if apart:
        pairs = pairs * (1 - jnp.eye(len(pairs), dtype=pairs.dtype))
    total = jnp.sum(pairs)
    return jnp.sum(pairs * values) / jnp.where(total > 0, total, 1)
