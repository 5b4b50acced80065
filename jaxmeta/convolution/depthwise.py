"""Convolution of each channel with a kernel of its own.

Chollet 2017, Xception, https://arxiv.org/abs/1610.02357; Howard et al. 2017, MobileNets,
https://arxiv.org/abs/1704.04861.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.convolution.algorithms import out_size
from jaxmeta.convolution.bilinear import (
    TASKS,
    Shared,
    alike,
    bilinear,
    each_others_derivatives,
)
from jaxmeta.functional.meshes import automatic
from jaxmeta.shapes import Array, Float


def depthwise(
    x: Float[Array, "n height width channels"],
    w: Float[Array, "k k 1 channels"],
    *,
    stride: int = 1,
) -> Float[Array, "n out_height out_width channels"]:
    """Convolves every channel with its own kernel, `SAME`.

        y[n, i, j, c] = sum_{a, b} x[n, s i + a - p, s j + b - q, c] w[a, b, 0, c]

    On a CPU it is this sum of k^2 shifted products, in one pass over the images, and so
    is its input gradient: the library behind `lax.conv_general_dilated` takes groups one
    by one there. Elsewhere it is that function. The convolution and its two gradients
    are primitives, as those of `conv` are: derivatives of every order are as fast, with
    weights of every task's own under `vmap`, too.

    Args:
      x: `[n, height, width, channels]`.
      w: `[k, k, 1, channels]`, of the dtype of `x`.
      stride: s, for both spatial axes.

    Returns:
      `[n, ceil(height / s), ceil(width / s), channels]`.

    Raises:
      ValueError: if shapes or `stride` do not fit.

    References:
      Howard et al. 2017, arXiv:1704.04861, section 3.1, eq. (3).

    >>> depthwise(jnp.ones((1, 2, 2, 1)), jnp.ones((3, 3, 1, 1)))[0, :, :, 0]
    Array([[4., 4.],
           [4., 4.]], dtype=float32)
    """
    if x.ndim != 4 or w.ndim != 4 or w.shape[2:] != (1, x.shape[3]):
        raise ValueError(
            f"x, w: got {x.shape} and {w.shape}, wants [n, height, width, channels] "
            "and [k, k, 1, channels]"
        )
    if stride < 1:
        raise ValueError(f"stride: got {stride}, wants at least 1")
    window = w.shape[:2]
    pads = tuple(lax.padtype_to_pads(x.shape[1:3], window, (stride, stride), "SAME"))
    params = {"stride": stride, "pads": pads, "size": x.shape[1:3], "window": window}

    def one(x, w):
        return _conv_p.bind(x[None], w[None], **params)[0]

    # images stay where they are, and so do channels
    return automatic(one, *alike(x, w), out=lambda x, w: jax.P(x[0], None, None, w[3]))


def _shifted(x, w, stride, pads, out):
    """The sum of shifted products; `pads` as in `lax.pad`, fewer than none cut."""
    zero = jnp.zeros((), x.dtype)
    x = lax.pad(x, zero, ((0, 0, 0), *pads, (0, 0, 0)))
    y = zero
    for a in range(w.shape[0]):
        for b in range(w.shape[1]):
            y = y + _seen(x, a, b, stride, out) * w[a, b, 0]
    return y


def _seen(x, a, b, stride, out):
    """What a tap meets: every `stride`-th pixel, from (a, b) on."""
    rows, columns = (stride * (n - 1) + 1 for n in out)
    x = lax.dynamic_slice_in_dim(x, a, rows, 1)
    return lax.dynamic_slice_in_dim(x, b, columns, 2)[:, ::stride, ::stride]


def _conv(x, w, *, stride, pads, size, window):
    edges = [(low, high, 0) for low, high in pads]
    return _shifted(x, w, stride, edges, out_size(size, window, stride, pads))


def _inputs(g, w, *, stride, pads, size, window):
    # the gradients, stride - 1 zeros between them, meet the kernel the other way round
    edges = []
    for n, k, m, (low, _) in zip(size, window, g.shape[1:3], pads, strict=True):
        before, spread = k - 1 - low, stride * (m - 1) + 1
        edges.append((before, n + k - 1 - before - spread, stride - 1))
    return _shifted(g, w[::-1, ::-1], 1, edges, size)


def _kernels(x, g, *, stride, pads, size, window):
    # one tap after another: the product of two maps, then their sum by a product with
    # ones. Sums that take in their product are fused into loops over single numbers
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    ones = jnp.ones((1, math.prod(g.shape[:3])), g.dtype)

    def tap(_, at):
        met = _seen(x, at[0], at[1], stride, g.shape[1:3]) * g
        return None, ones @ lax.optimization_barrier(met.reshape(ones.size, -1))

    taps = jnp.stack(jnp.indices(window), -1).reshape(-1, 2)
    w = lax.scan(tap, None, taps)[1]
    return w.reshape(*window, 1, -1)


def _grouped(x, w, *, stride, pads, size, window):
    return lax.conv_general_dilated(
        x, w, (stride, stride), pads,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[3],
    )  # fmt: skip


def _grouped_inputs(g, w, *, size, **params):
    x = jax.ShapeDtypeStruct((len(g), *size, g.shape[3]), g.dtype)
    conv = functools.partial(_grouped, size=size, **params)
    return jax.linear_transpose(lambda x: conv(x, w), x)(g)[0]


def _grouped_kernels(x, g, *, window, **params):
    w = jax.ShapeDtypeStruct((*window, 1, g.shape[3]), g.dtype)
    conv = functools.partial(_grouped, window=window, **params)
    return jax.linear_transpose(lambda w: conv(x, w), w)(g)[0]


def _conv_shape(x, w, *, stride, pads, size, window):
    return (*x.shape[:2], *out_size(size, window, stride, pads), x.shape[4])


def _input_shape(g, w, *, size, **_):
    return (*g.shape[:2], *size, g.shape[4])


def _kernel_shape(x, g, *, window, **_):
    return (x.shape[0], *window, 1, x.shape[4])


def _primitive(name, here, elsewhere, shape, left, right):
    def lowered(a, b, *, platform, alone, **params):
        del alone
        one = functools.partial(here if platform == "cpu" else elsewhere, **params)
        return one(a[0], b[0])[None] if len(a) == 1 else jax.vmap(one)(a, b)

    params = ("stride", "pads", "size", "window")
    return bilinear(f"depthwise{name}", lowered, shape, params, left, right)


_IMAGES = Shared(1, 1)
_conv_p = _primitive("", _conv, _grouped, _conv_shape, _IMAGES, TASKS)
_input_p = _primitive("_input", _inputs, _grouped_inputs, _input_shape, _IMAGES, TASKS)
_kernel_p = _primitive(
    "_kernel", _kernels, _grouped_kernels, _kernel_shape, TASKS, TASKS
)
each_others_derivatives(_conv_p, _input_p, _kernel_p)
