"""Scaled dot-product attention, causal masks and causal convolutions."""

import jax
import jax.numpy as jnp

from jaxmeta.checks import at_least
from jaxmeta.core import Array
from jaxmeta.shapes import Bool, Float


def attention_weights(
    queries: Float[Array, "... n d"],
    keys: Float[Array, "... m d"],
    mask: Bool[Array, "... n m"] | None = None,
    weights: Float[Array, " m"] | None = None,
) -> Float[Array, "... n m"]:
    """How much each query looks at each key; every row sums to 1.

        A_ij = w_j exp(q_i . k_j / sqrt(d)) / sum_l w_l exp(q_i . k_l / sqrt(d))

    Args:
      queries: `[..., n, d]`.
      keys: `[..., m, d]`.
      mask: boolean, broadcastable to `[..., n, m]`: True where a query may look. A row
        that may look nowhere is uniform, never NaN.
      weights: `[m]`, >= 0, or `None` for all 1: a key of weight 2 is two equal keys, one
        of weight 0 is not there.

    Returns:
      `[..., n, m]`, non-negative, zero where masked.

    References:
      Vaswani et al. 2017, Attention Is All You Need, arXiv:1706.03762, eq. (1).

    >>> attention_weights(jnp.ones((1, 4)), jnp.ones((2, 4))).tolist()
    [[0.5, 0.5]]
    """
    scores = queries @ jnp.swapaxes(keys, -1, -2) / jnp.sqrt(1.0 * queries.shape[-1])
    return softmax_over(scores, mask, weights)


def softmax_over(
    scores: Array, mask: Array | None = None, weights: Array | None = None
) -> Array:
    """A softmax of `[..., n, m]` over what may be looked at, each as often as it counts."""
    if weights is not None:
        there = weights > 0
        scores = scores + jnp.log(jnp.where(there, weights, 1)).astype(scores.dtype)
        mask = there if mask is None else mask & there
    if mask is not None:
        # the most negative finite number: -inf would make a row of padding 0/0
        scores = jnp.where(mask, scores, jnp.finfo(scores.dtype).min)
    return jax.nn.softmax(scores)


def causal_mask(
    length: int, real: Bool[Array, " t"] | None = None
) -> Bool[Array, "t t"]:
    """Who may look at whom in a sequence: at oneself and at the past.

        mask_ij = [j <= i][x_j is real]

    Args:
      length: t.
      real: boolean `[t]`; False is padding, which nobody looks at.

    Returns:
      Boolean `[t, t]`, rows are queries.

    >>> causal_mask(3).astype(int).tolist()
    [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    mask = jnp.tri(length, dtype=bool)
    return mask if real is None else mask & real


def causal_conv(
    inputs: Float[Array, "t c"],
    kernel: Float[Array, "2 c d"],
    bias: Float[Array, " d"],
    *,
    dilation: int,
) -> Float[Array, "t d"]:
    """A convolution over time with two taps: now, and `dilation` steps ago.

        y_t = x_{t-dilation} W_0 + x_t W_1 + b,   x_t = 0 for t < 0

    Two matrix products rather than a convolution: with a kernel for every task that is
    a batched product, where a convolution would become a grouped one.

    Args:
      inputs: `[t, c]`.
      kernel: `[2, c, d]`.
      bias: `[d]`.
      dilation: >= 1.

    Returns:
      `[t, d]`.

    Raises:
      ValueError: if `dilation < 1`.

    >>> x = jnp.array([[1.0], [2.0], [4.0]])
    >>> causal_conv(x, jnp.ones((2, 1, 1)), jnp.zeros(1), dilation=1)[:, 0].tolist()
    [1.0, 3.0, 6.0]
    """
    at_least(1, dilation=dilation)
    length = inputs.shape[0]
    late = jnp.pad(inputs, ((dilation, 0), (0, 0)))[:length]
    return late @ kernel[0] + inputs @ kernel[1] + bias
