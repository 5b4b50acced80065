"""A convolution of few inputs and the batch norm after it, in one pass over the images."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.convolution.algorithms import (
    CACHE,
    block_size,
    high,
    in_blocks,
    out_size,
    patches,
)
from jaxmeta.convolution.convolution import conv
from jaxmeta.convolution.norm import check_weights
from jaxmeta.functional.meshes import by_rows
from jaxmeta.functional.rows import spread
from jaxmeta.shapes import Array, Float

FEW = 27
"""Taps of a kernel (height x width x channels) up to which `conv_batch_norm` pays."""


@by_rows(results=3)
def conv_batch_norm(
    x: Float[Array, "n height width channels"],
    w: Float[Array, "kernel_height kernel_width channels filters"],
    scale: Float[Array, " filters"],
    offset: Float[Array, " filters"],
    *,
    stride: int = 1,
    eps: float = 1e-5,
    pool: Callable[[jax.Array], jax.Array] | None = None,
    weights: Float[Array, " n"] | None = None,
) -> tuple[
    Float[Array, "n out_height out_width filters"],
    Float[Array, " filters"],
    Float[Array, " filters"],
]:
    """A `SAME` convolution, batch-normalised; its outputs are computed once, normalised.

        y = x * (w S) + (offset - mean S),   S = scale / sqrt(var + eps)
        mean_o = m^T w_o,   var_o = w_o^T C w_o

    m and C are the mean and the covariance of the patches that the kernel meets: they
    know the statistics of the outputs before there are any, and do not depend on w. So
    no pass over the outputs takes a mean or a variance, forward or backward, which is
    most of the work where one channel becomes 64, or three do. C has (taps)^2 entries: this is for
    first layers, of up to `FEW` taps.

    Args:
      x: `[n, height, width, channels]`.
      w: `[kernel_height, kernel_width, channels, filters]`.
      scale: gamma, `[filters]`.
      offset: beta, `[filters]`.
      stride: of the convolution.
      eps: added to the variance.
      pool: as in `batch_norm`.
      weights: as in `batch_norm`: m and C are then weighted.

    Returns:
      `(y, mean, var)`, as `batch_norm` of `conv(x, w)`: y like `x`, or pooled; the
      statistics `[filters]` and at least float32. All three carry gradients of every order.

    Raises:
      ValueError: if there are not as many weights as rows.

    >>> x, w = jnp.arange(4.0).reshape(1, 2, 2, 1), jnp.ones((1, 1, 1, 1))
    >>> y, mean, var = conv_batch_norm(x, w, jnp.ones(1), jnp.zeros(1), eps=0.0)
    >>> [f"{v:.3f}" for v in y.ravel()], mean.tolist(), var.tolist()
    (['-1.342', '-0.447', '0.447', '1.342'], [1.5], [1.25])
    """
    dtype = jnp.promote_types(x.dtype, jnp.float32)  # half precision does not sum
    check_weights(weights, x)
    if weights is not None:  # NaN times a weight of 0 is NaN
        x = jnp.where(spread(weights, x) > 0, x, 0)
    window, size = w.shape[:2], x.shape[1:3]
    pads = tuple(lax.padtype_to_pads(size, window, (stride, stride), "SAME"))
    p = patches(x, window, stride, pads, out_size(size, window, stride, pads))
    p, taps = p.astype(dtype), w.reshape(-1, w.shape[3]).astype(dtype)
    if weights is None:
        m = jnp.mean(p, 0)
        p = p - m
        covariance = high(p.T, p) / p.shape[0]
    else:
        total = jnp.sum(weights)
        share = (weights / jnp.where(total > 0, total, 1)).astype(dtype)
        each = p.shape[0] // x.shape[0]  # patches of an image
        share = jnp.repeat(share, each)[:, None] / each
        m = jnp.sum(share * p, 0)
        p = p - m
        covariance = high((share * p).T, p)
    mean = high(m, taps)
    var = jnp.sum(taps * high(covariance, taps), 0)
    s = scale * lax.rsqrt(var + eps)
    kernel = (w * s).astype(x.dtype)
    if pool is None:
        y = conv(x, kernel, stride=stride)
    else:  # S is in the kernel: what is left to add is the same everywhere
        y = _pooled(x, kernel, stride, pool)
    y = (y + (offset - mean * s)).astype(x.dtype)
    return y, mean, var


def _pooled(x, w, stride, pool):
    # the outputs are several times what is left of them: a CPU takes some images at a
    # time, whose outputs, and their gradient, stay in its cache
    def in_parts(size, x, w):
        y = in_blocks(lambda x: pool(conv(x, w, stride=stride)), size, x)
        return y.reshape(x.shape[0], *y.shape[2:])

    pixels = math.prod(-(-side // stride) for side in x.shape[1:3])
    each = pixels * w.shape[3] * x.dtype.itemsize
    n = x.shape[0]
    size = block_size(n, max(CACHE // each, 1))
    if size == n:
        return in_parts(n, x, w)
    return lax.platform_dependent(
        x, w, cpu=partial(in_parts, size), default=partial(in_parts, n)
    )
