"""Convolution and pooling that stay fast, and right, under every derivative.

MAML differentiates a convolution twice, with other weights in every task. There
`lax.conv_general_dilated` is slow: its kernel gradient has no fast lowering on CPU, and
batched weights become a grouped convolution. Here a convolution, its input gradient and
its kernel gradient are three bilinear primitives, each the derivative of the others
(`W * x`, `W^T * y`, `x # y`), so forward mode, reverse mode and any order of both need
no further rule, and each of the three picks its own algorithm.

Lavin and Gray 2015, Fast Algorithms for Convolutional Neural Networks,
https://arxiv.org/abs/1509.09308 (the F(2x2, 3x3) algorithm).
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

Impl = Literal["auto", "dot", "winograd", "xla"]
_NHWC = ("NHWC", "HWIO", "NHWC")


def conv(
    x: jax.Array,
    w: jax.Array,
    *,
    stride: int = 1,
    padding: Literal["SAME", "VALID"] = "SAME",
    impl: Impl = "auto",
) -> jax.Array:
    """Convolves a batch of images with a kernel; every derivative is as fast.

        y[n, i, j, o] = sum_{a, b, c} x[n, s i + a - p, s j + b - q, c] w[a, b, c, o]

    with the padding p, q of `lax.conv_general_dilated`, which it equals.

    Args:
      x: `[n, height, width, channels]`.
      w: `[kernel_height, kernel_width, channels, filters]`, of the dtype of `x`.
      stride: s, for both spatial axes.
      padding: "SAME" (output size ceil(size / s)) or "VALID".
      impl: "dot" (patches and one matrix product: a batched product when `vmap` gives
        every task its weights), "winograd" (3x3, stride 1: 2.25 times fewer products;
        else "dot"), "xla" (`lax.conv_general_dilated`), or "auto", by platform and size.

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
    if impl not in ("auto", "dot", "winograd", "xla"):
        raise ValueError(
            f'impl: got {impl!r}, wants "auto", "dot", "winograd" or "xla"'
        )
    if stride < 1:
        raise ValueError(f"stride: got {stride}, wants at least 1")
    if padding not in ("SAME", "VALID"):
        raise ValueError(f'padding: got {padding!r}, wants "SAME" or "VALID"')
    size, window = x.shape[1:3], w.shape[:2]
    pads = tuple(lax.padtype_to_pads(size, window, (stride, stride), padding))
    return _conv(x, w, stride, pads, impl)


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
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
) -> jax.Array:
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
        # the input gradient pads by window - 1 - pad
        if all(0 <= p < k for pad, k in zip(pads, window, strict=True) for p in pad):
            return _conv(lhs, rhs, window_strides[0], pads, "auto")
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


def max_pool(x: jax.Array) -> jax.Array:
    """Maximum over 2x2 windows with a stride of 2; an odd last row or column is dropped.

    Comparing strided slices is several times faster on CPU than `lax.reduce_window`. It
    compares with a select, never for equality with a maximum that the compiler may have
    computed a second time and rounded otherwise, which loses gradients. On ties the
    gradient goes to one entry.

    Args:
      x: `[n, height, width, channels]`.

    Returns:
      `[n, height // 2, width // 2, channels]`.

    >>> import jax.numpy as jnp
    >>> max_pool(jnp.arange(15.0).reshape(1, 3, 5, 1))[0, :, :, 0]
    Array([[6., 8.]], dtype=float32)
    """
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    rows = [_larger(x[:, i:h:2, 0:w:2], x[:, i:h:2, 1:w:2]) for i in (0, 1)]
    return _larger(*rows)


def avg_pool(x: jax.Array) -> jax.Array:
    """Mean over 2x2 windows with a stride of 2; an odd last row or column is dropped.

    Args:
      x: `[n, height, width, channels]`.

    Returns:
      `[n, height // 2, width // 2, channels]`.

    >>> import jax.numpy as jnp
    >>> avg_pool(jnp.arange(15.0).reshape(1, 3, 5, 1))[0, :, :, 0]
    Array([[3., 5.]], dtype=float32)
    """
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    a, b = x[:, 0:h:2, 0:w:2], x[:, 0:h:2, 1:w:2]
    c, d = x[:, 1:h:2, 0:w:2], x[:, 1:h:2, 1:w:2]
    return (a + b + c + d) / 4


def _larger(a, b):
    return jnp.where(a > b, a, b)


def _dilated(dilation):
    return dilation is not None and any(d != 1 for d in dilation)


# --- algorithms, for one kernel; `pads` is ((top, bottom), (left, right)) -------------


def _out_size(size, window, stride, pads):
    sizes = zip(size, window, pads, strict=True)
    return tuple((n + low + high - k) // stride + 1 for n, k, (low, high) in sizes)


def _xla(x, w, stride, pads):
    return lax.conv_general_dilated(
        x, w, (stride, stride), pads, dimension_numbers=_NHWC
    )


def _flip(w):
    return w[::-1, ::-1].swapaxes(2, 3)


def _patches(x, window, stride, pads, out):
    # stacking before the channel axis moves whole rows of channels; joining along it
    # would branch on every element
    (h, w), (kh, kw) = out, window
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    cols = [x[:, :, j : j + stride * (w - 1) + 1 : stride] for j in range(kw)]
    x = jnp.stack(cols, 3)
    rows = [x[:, i : i + stride * (h - 1) + 1 : stride] for i in range(kh)]
    return jnp.stack(rows, 3).reshape(x.shape[0] * h * w, -1)


def _dot(x, w, stride, pads):
    out = _out_size(x.shape[1:3], w.shape[:2], stride, pads)
    p = _patches(x, w.shape[:2], stride, pads, out)
    return (p @ w.reshape(-1, w.shape[3])).reshape(x.shape[0], *out, w.shape[3])


def _dot_kernel(x, g, window, stride, pads):
    p = _patches(x, window, stride, pads, g.shape[1:3])
    return (p.T @ g.reshape(-1, g.shape[3])).reshape(*window, x.shape[3], g.shape[3])


def _outer(x, w, stride, pads):
    # one channel: a matrix product over the window alone is slower than its terms
    h, wd = _out_size(x.shape[1:3], w.shape[:2], stride, pads)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    y = 0.0
    for i, j in np.ndindex(w.shape[:2]):
        rows = slice(i, i + stride * (h - 1) + 1, stride)
        y = y + x[:, rows, j : j + stride * (wd - 1) + 1 : stride] * w[i, j]
    return y


def _dot_input(g, w, stride, pads, size):
    # stride s: each of the s^2 phases of the image is a convolution of g by every s-th
    # tap of the flipped kernel; one product yields them all as channels
    s, (kh, kw, ci, co) = stride, w.shape
    mh, mw = -(-kh // s), -(-kw // s)
    w = jnp.pad(w, ((0, mh * s - kh), (0, mw * s - kw), (0, 0), (0, 0)))
    w = w.reshape(mh, s, mw, s, ci, co).transpose(0, 2, 5, 1, 3, 4)[::-1, ::-1]
    w = w.reshape(mh, mw, co, s * s * ci)
    full = tuple((m - 1, m - 1) for m in (mh, mw))
    d = _dot(g, w, 1, full)
    n, h, wd = d.shape[:3]
    d = d.reshape(n, h, wd, s, s, ci).transpose(0, 1, 3, 2, 4, 5)
    d = d.reshape(n, h * s, wd * s, ci)
    # row r of d is row r - top of the image; rows no window reaches are zero
    zero = jnp.zeros((), d.dtype)
    edge = [
        (-p[0], n + p[0] - m, 0)
        for p, n, m in zip(pads, size, d.shape[1:3], strict=True)
    ]
    return lax.pad(d, zero, ((0, 0, 0), *edge, (0, 0, 0)))


# F(2x2, 3x3): y = A^T [(G w G^T) * (B^T x B)] A on tiles of 4x4 that overlap by 2
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_GG = np.kron(_G, _G)  # [16, 9]


def _tiles(x, pads, out):
    th, tw = -(-out[0] // 2), -(-out[1] // 2)
    (top, _), (left, _) = pads
    below, right = 2 * th + 2 - x.shape[1] - top, 2 * tw + 2 - x.shape[2] - left
    edge = ((0, 0, 0), (top, below, 0), (left, right, 0), (0, 0, 0))
    x = lax.pad(x, jnp.zeros((), x.dtype), edge)

    def bt(d):
        return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]

    at = [slice(a, a + 2 * th - 1, 2) for a in range(4)]
    to = [slice(b, b + 2 * tw - 1, 2) for b in range(4)]
    columns = [bt([x[:, at[a], to[b]] for a in range(4)]) for b in range(4)]
    rows = [bt([columns[b][a] for b in range(4)]) for a in range(4)]
    return [v.reshape(-1, v.shape[3]) for row in rows for v in row]


def _winograd(x, w, pads):
    out = _out_size(x.shape[1:3], (3, 3), 1, pads)
    n, th, tw, co = x.shape[0], -(-out[0] // 2), -(-out[1] // 2), w.shape[3]
    u = _high(jnp.asarray(_GG, w.dtype), w.reshape(9, -1)).reshape(16, *w.shape[2:])
    # sixteen products, not one batched: each tile is read while it is in the cache
    tiles = _tiles(x, pads, out)
    m = [(v @ u[k]).reshape(n, th, tw, co) for k, v in enumerate(tiles)]

    def at(m):
        return m[0] + m[1] + m[2], m[1] - m[2] - m[3]

    columns = [at([m[4 * a + b] for a in range(4)]) for b in range(4)]
    rows = [jnp.stack(at([columns[b][a] for b in range(4)]), 3) for a in range(2)]
    y = jnp.stack(rows, 2).reshape(n, 2 * th, 2 * tw, co)
    return y[:, : out[0], : out[1]]


def _winograd_kernel(x, g, pads):
    out = g.shape[1:3]
    g = jnp.pad(g, ((0, 0), (0, out[0] % 2), (0, out[1] % 2), (0, 0)))

    def a(g):
        return g[0], g[0] + g[1], g[0] - g[1], -g[1]

    columns = [a([g[:, i::2, j::2] for i in range(2)]) for j in range(2)]
    rows = [a([columns[j][i] for j in range(2)]) for i in range(4)]
    d = [v.reshape(-1, v.shape[3]) for row in rows for v in row]
    u = [v.T @ e for v, e in zip(_tiles(x, pads, out), d, strict=True)]
    u = jnp.stack(u).reshape(16, -1)
    return _high(jnp.asarray(_GG.T, g.dtype), u).reshape(3, 3, x.shape[3], g.shape[3])


def _high(a, b):
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


# --- the choice, at lowering: by then the platform and the tasks are known -------------


def _choose(impl, cpu, tasks, dtype, window, stride, out, channels, filters):
    """One of "xla", "dot", "winograd", "outer", by measurement; see `conv`."""
    wino = window == (3, 3) and stride == 1 and dtype in (jnp.float32, jnp.float64)
    if impl == "winograd" and not wino:
        return "dot"
    if impl != "auto":
        return impl
    if not cpu:
        # libraries are fast for dense convolutions and slow for grouped ones
        return "xla" if tasks == 1 else "dot"
    if channels == 1:
        return "outer"
    large = out[0] * out[1] * out[2] >= 500 and min(out[1:]) >= 5
    if wino and large and min(channels, filters) >= 16:
        return "winograd"
    # XLA's own loops know float32 only, and no groups
    return "xla" if tasks == 1 and dtype == jnp.float32 else "dot"


def _forward(x, w, *, tasks, cpu, stride, pads, size, window, impl):
    out = (x.shape[0], *_out_size(size, window, stride, pads))
    how = _choose(impl, cpu, tasks, x.dtype, window, stride, out, *w.shape[2:])
    if how == "winograd":
        return _winograd(x, w, pads)
    how = {"dot": _dot, "xla": _xla, "outer": _outer}[how]
    return how(x, w, stride, pads)


def _input_gradient(g, w, *, tasks, cpu, stride, pads, size, window, impl):
    out = (g.shape[0], *size)
    how = _choose(
        impl, cpu, tasks, g.dtype, window, stride, out, w.shape[3], w.shape[2]
    )
    if how == "xla" and (impl == "xla" or not cpu or stride == 1):
        shape = jax.ShapeDtypeStruct((g.shape[0], *size, w.shape[2]), g.dtype)
        return jax.linear_transpose(lambda x: _xla(x, w, stride, pads), shape)(g)[0]
    if stride > 1:
        return _dot_input(g, w, stride, pads, size)
    pads = tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip(window, pads, strict=True))
    if how == "winograd":
        return _winograd(g, _flip(w), pads)
    how = _outer if how == "outer" else _dot
    return how(g, _flip(w), 1, pads)


def _kernel_gradient(x, g, *, tasks, cpu, stride, pads, size, window, impl):
    how = _choose(
        impl, cpu, tasks, x.dtype, window, stride, g.shape[:3], x.shape[3], g.shape[3]
    )
    if how == "winograd":
        return _winograd_kernel(x, g, pads)
    if how == "xla" and (impl == "xla" or not cpu):
        shape = jax.ShapeDtypeStruct((*window, x.shape[3], g.shape[3]), x.dtype)
        return jax.linear_transpose(lambda w: _xla(x, w, stride, pads), shape)(g)[0]
    return _dot_kernel(x, g, window, stride, pads)


# --- three bilinear primitives; every operand has a leading axis of tasks --------------


def _conv_shape(x, w, *, stride, pads, size, window, impl):
    return (*x.shape[:2], *_out_size(size, window, stride, pads), w.shape[4])


def _input_shape(g, w, *, size, **_):
    return (*g.shape[:2], *size, w.shape[3])


def _kernel_shape(x, g, *, window, **_):
    return (x.shape[0], *window, x.shape[4], g.shape[4])


def _primitive(name, function, shape, left, right):
    """A bilinear primitive; `left`, `right`: (axis to fold a batch into, where it comes out)."""
    p = Primitive(name)
    params = ("stride", "pads", "size", "window", "impl")
    p.def_impl(jax.jit(p.bind, static_argnames=params))

    def abstract(a, b, **params):
        sharding = a.sharding.update(spec=jax.P(*[None] * 5))
        return a.update(shape=shape(a, b, **params), weak_type=False, sharding=sharding)

    def lowered(a, b, *, cpu, **params):
        one = functools.partial(function, tasks=a.shape[0], cpu=cpu, **params)
        return one(a[0], b[0])[None] if a.shape[0] == 1 else jax.vmap(one)(a, b)

    def batch(args, dims, **params):
        (a, b), (i, j) = args, dims
        size = a.shape[i] if j is None else b.shape[j]
        if j is None:  # shared weights: more images
            a, out = _fold(a, i, left[0]), left[1]
        elif i is None:
            b, out = _fold(b, j, right[0]), right[1]
        else:  # both differ: more tasks
            a, b, out = _fold(a, i, 0), _fold(b, j, 0), 0
        y = p.bind(a, b, **params)
        shape = (*y.shape[:out], size, y.shape[out] // size, *y.shape[out + 1 :])
        return y.reshape(shape), out

    p.def_abstract_eval(abstract)
    batching.primitive_batchers[p] = batch
    for platform in ("cpu", None):
        lower = functools.partial(lowered, cpu=platform == "cpu")
        rule = mlir.lower_fun(lower, multiple_results=False)
        mlir.register_lowering(p, rule, platform=platform)
    return p


def _fold(x, axis, into):
    x = jnp.moveaxis(x, axis, into)
    return x.reshape(*x.shape[:into], -1, *x.shape[into + 2 :])


_conv_p = _primitive("conv", _forward, _conv_shape, (1, 1), (4, 4))
_input_p = _primitive("conv_input", _input_gradient, _input_shape, (1, 1), (3, 4))
_kernel_p = _primitive("conv_kernel", _kernel_gradient, _kernel_shape, (4, 3), (4, 4))
ad.defbilinear(
    _conv_p,
    lambda ct, x, w, **params: _input_p.bind(ct, w, **params),
    lambda ct, x, w, **params: _kernel_p.bind(x, ct, **params),
)
ad.defbilinear(
    _input_p,
    lambda ct, g, w, **params: _conv_p.bind(ct, w, **params),
    lambda ct, g, w, **params: _kernel_p.bind(ct, g, **params),
)
ad.defbilinear(
    _kernel_p,
    lambda ct, x, g, **params: _input_p.bind(g, ct, **params),
    lambda ct, x, g, **params: _conv_p.bind(x, ct, **params),
)


def _conv(x, w, stride, pads, impl):
    axes = [jax.typeof(a).manual_axis_type.varying for a in (x, w)]
    if axes[0] != axes[1]:  # inside shard_map: both operands vary over the same axes
        x = lax.pcast(x, tuple(axes[1] - axes[0]), to="varying")
        w = lax.pcast(w, tuple(axes[0] - axes[1]), to="varying")
    params = {"stride": stride, "pads": pads, "size": x.shape[1:3], "impl": impl}
    return _conv_p.bind(x[None], w[None], window=w.shape[:2], **params)[0]
