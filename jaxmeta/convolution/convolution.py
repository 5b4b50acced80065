"""Convolution that stays fast, and right, under every derivative.

MAML differentiates a convolution twice, with other weights in every task. There
`lax.conv_general_dilated` is slow: its kernel gradient has no fast lowering on CPU, and
batched weights become a grouped convolution. Here a convolution, its input gradient and
its kernel gradient are three bilinear primitives, each the derivative of the others
(`W * x`, `W^T * y`, `x # y`), so forward mode, reverse mode and any order of both need
no further rule, and each of the three picks its own algorithm.

Lavin and Gray 2015, Fast Algorithms for Convolutional Neural Networks,
https://arxiv.org/abs/1509.09308 (the F(2x2, 3x3) algorithm).
"""

from typing import Any, Literal, get_args

import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import one_of
from jaxmeta.convolution.algorithms import out_size
from jaxmeta.convolution.primitives import bind
from jaxmeta.shapes import Array, Float

Impl = Literal["auto", "dot", "dense", "winograd", "xla", "triton"]
_NHWC = ("NHWC", "HWIO", "NHWC")


def conv(
    x: Float[Array, "n height width channels"],
    w: Float[Array, "kernel_height kernel_width channels filters"],
    *,
    stride: int = 1,
    padding: Literal["SAME", "VALID"] | tuple[tuple[int, int], ...] = "SAME",
    impl: Impl = "auto",
) -> Float[Array, "n out_height out_width filters"]:
    """Convolves a batch of images with a kernel; every derivative is as fast.

        y[n, i, j, o] = sum_{a, b, c} x[n, s i + a - p, s j + b - q, c] w[a, b, c, o]

    with the padding p, q of `lax.conv_general_dilated`, which it equals.

    Args:
      x: `[n, height, width, channels]`.
      w: `[kernel_height, kernel_width, channels, filters]`, of the dtype of `x`.
      stride: s, for both spatial axes.
      padding: "SAME" (output size ceil(size / s)), "VALID", or zeros (before, after) for
        each spatial axis, fewer than the kernel is long.
      impl: "dot" (patches and one matrix product: a batched product when `vmap` gives
        every task its weights), "dense" (one product by the matrix that joins all pixels:
        for maps of a few), "winograd" (3x3, stride 1: 2.25 times fewer products; else
        "dot"), "xla" (`lax.conv_general_dilated`), "triton" (on a CUDA GPU, channels by
        16: no patches in memory; else "dot"), or "auto", by platform and size.

    Returns:
      `[n, out_height, out_width, filters]`.

    Raises:
      ValueError: if shapes, dtypes, `stride`, `padding` or `impl` do not fit.

    References:
      Lavin and Gray 2015, https://arxiv.org/abs/1509.09308.

    >>> import jax.numpy as jnp
    >>> x = jnp.arange(4.0).reshape(1, 2, 2, 1)
    >>> conv(x, jnp.ones((3, 3, 1, 1)))[0, :, :, 0]
    Array([[6., 6.],
           [6., 6.]], dtype=float32)
    """
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        raise ValueError(
            f"x, w: got {x.shape} and {w.shape}, wants [n, height, width, channels] "
            "and [kernel_height, kernel_width, channels, filters]"
        )
    if x.dtype != w.dtype or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"x, w: got {x.dtype} and {w.dtype}, wants one floating dtype")
    if impl not in get_args(Impl):
        raise ValueError(
            f"impl: got {impl!r}, wants one of {', '.join(get_args(Impl))}"
        )
    if stride < 1:
        raise ValueError(f"stride: got {stride}, wants at least 1")
    size, window = x.shape[1:3], w.shape[:2]
    zeros = padding
    if isinstance(zeros, str):
        one_of(("SAME", "VALID"), padding=zeros)
        zeros = lax.padtype_to_pads(size, window, (stride, stride), zeros)
    pads = tuple((int(low), int(high)) for low, high in zeros)
    if not _inside(pads, window):
        raise ValueError(f"padding: got {pads}, wants fewer zeros than {window}")
    if _empty(x, w, stride, pads):
        return lax.conv_general_dilated(
            x, w, (stride, stride), pads, dimension_numbers=_NHWC
        )
    return bind(x, w, stride, pads, impl)


def conv_general_dilated(
    lhs: Array,
    rhs: Array,
    window_strides: tuple[int, ...],
    padding: Any,
    lhs_dilation: tuple[int, ...] | None = None,
    rhs_dilation: tuple[int, ...] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
    out_sharding: Any = None,
) -> Array:
    """`jax.lax.conv_general_dilated`, through `conv` wherever that covers the case.

    Covered: two spatial axes in NHWC and HWIO, one stride for both, no dilation, no
    groups, default precision. Anything else goes to `jax.lax` unchanged.

    Args:
      lhs: images.
      rhs: kernel.
      window_strides: one stride a spatial axis.
      padding: "SAME", "VALID" or a pair (low, high) for each spatial axis.
      lhs_dilation: as in `jax.lax`.
      rhs_dilation: as in `jax.lax`.
      dimension_numbers: as in `jax.lax`.
      feature_group_count: as in `jax.lax`.
      batch_group_count: as in `jax.lax`.
      precision: as in `jax.lax`.
      preferred_element_type: as in `jax.lax`.
      out_sharding: as in `jax.lax`.

    Returns:
      What `jax.lax.conv_general_dilated` returns.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = nnx.Conv(
    ...     1, 2, (3, 3), rngs=nnx.Rngs(0), conv_general_dilated=conv_general_dilated
    ... )
    >>> layer(jnp.ones((4, 8, 8, 1))).shape
    (4, 8, 8, 2)
    """
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    plain = (
        lhs.ndim == 4
        and numbers == lax.conv_dimension_numbers(lhs.shape, rhs.shape, _NHWC)
        and len(set(window_strides)) == 1
        and not _dilated(lhs_dilation)
        and not _dilated(rhs_dilation)
        and feature_group_count == batch_group_count == 1
        and precision is None
        and preferred_element_type in (None, lhs.dtype)
        and out_sharding is None
        and lhs.dtype == rhs.dtype
        and jnp.issubdtype(lhs.dtype, jnp.floating)
    )
    if plain:
        size, window = lhs.shape[1:3], rhs.shape[:2]
        if isinstance(padding, str):
            padding = lax.padtype_to_pads(size, window, window_strides, padding)
        pads = tuple((int(low), int(high)) for low, high in padding)
        if _inside(pads, window) and not _empty(lhs, rhs, window_strides[0], pads):
            return bind(lhs, rhs, window_strides[0], pads, "auto")
    return lax.conv_general_dilated(
        lhs,
        rhs,
        window_strides,
        padding,
        lhs_dilation,
        rhs_dilation,
        dimension_numbers,
        feature_group_count,
        batch_group_count,
        precision,
        preferred_element_type,
        out_sharding,
    )


def _inside(pads, window):
    # the input gradient pads by window - 1 - pad
    pairs = zip(pads, window, strict=True)
    return all(0 <= p < k for pad, k in pairs for p in pad)


def _empty(x, w, stride, pads):
    # nothing to convolve, or a kernel longer than the image: that is lax's to say
    out = out_size(x.shape[1:3], w.shape[:2], stride, pads)
    return 0 in (x.size, w.size) or min(out) < 1


def _dilated(dilation):
    return dilation is not None and any(d != 1 for d in dilation)
