"""Ways to compute a convolution and its two gradients, for one kernel.

Everywhere `x` is `[n, height, width, channels]`, `w` `[kh, kw, channels, filters]`, `g` a
gradient of the outputs, and `pads` `((top, bottom), (left, right))`.

Lavin and Gray 2015, Fast Algorithms for Convolutional Neural Networks,
https://arxiv.org/abs/1509.09308 (the F(2x2, 3x3) algorithm).
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import lax

_NHWC = ("NHWC", "HWIO", "NHWC")


def out_size(size, window, stride, pads):
    sizes = zip(size, window, pads, strict=True)
    return tuple((n + low + high - k) // stride + 1 for n, k, (low, high) in sizes)


def xla(x, w, stride, pads):
    return lax.conv_general_dilated(
        x, w, (stride, stride), pads, dimension_numbers=_NHWC
    )


def flip(w):
    return w[::-1, ::-1].swapaxes(2, 3)


def patches(x, window, stride, pads, out):
    # stacking before the channel axis moves whole rows of channels; joining along it
    # would branch on every element
    (h, w), (kh, kw) = out, window
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    cols = [x[:, :, j : j + stride * (w - 1) + 1 : stride] for j in range(kw)]
    x = jnp.stack(cols, 3)
    rows = [x[:, i : i + stride * (h - 1) + 1 : stride] for i in range(kh)]
    return jnp.stack(rows, 3).reshape(x.shape[0] * h * w, -1)


def dot(x, w, stride, pads):
    out = out_size(x.shape[1:3], w.shape[:2], stride, pads)
    p = patches(x, w.shape[:2], stride, pads, out)
    return (p @ w.reshape(-1, w.shape[3])).reshape(x.shape[0], *out, w.shape[3])


def dot_kernel(x, g, window, stride, pads):
    p = patches(x, window, stride, pads, g.shape[1:3])
    # g is the smaller one to be turned before the product
    w = (g.reshape(-1, g.shape[3]).T @ p).T
    return w.reshape(*window, x.shape[3], g.shape[3])


def dot_input(g, w, stride, pads, size):
    # one product gives what each tap adds. The s^2 phases of the image, every s-th row
    # and column of it, are each a sum of the taps that reach them, moved by whole places
    s, (kh, kw, ci, co) = stride, w.shape
    n, h, wd = g.shape[:3]
    taps = (g.reshape(-1, co) @ w.reshape(-1, co).T).reshape(n, h, wd, kh, kw, ci)
    zero = jnp.zeros((), g.dtype)
    more = [-(-k // s) - 1 for k in (kh, kw)]

    def phase(a, b):
        total = jnp.zeros((n, h + more[0], wd + more[1], ci), g.dtype)
        for i in range(a, kh, s):
            for j in range(b, kw, s):
                moves = [
                    (k // s, m - k // s, 0) for k, m in zip((i, j), more, strict=True)
                ]
                edge = ((0, 0, 0), *moves, (0, 0, 0))
                total = total + lax.pad(taps[:, :, :, i, j], zero, edge)
        return total

    rows = [jnp.stack([phase(a, b) for b in range(s)], 3) for a in range(s)]
    d = jnp.stack(rows, 2).reshape(n, (h + more[0]) * s, (wd + more[1]) * s, ci)
    # row r of d is row r - top of the image; rows no window reaches are zero
    edge = [
        (-p[0], n + p[0] - m, 0)
        for p, n, m in zip(pads, size, d.shape[1:3], strict=True)
    ]
    return lax.pad(d, zero, ((0, 0, 0), *edge, (0, 0, 0)))


# F(2x2, 3x3): y = A^T [(G w G^T) * (B^T x B)] A on tiles of 4x4 that overlap by 2
_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_GG = np.kron(_G, _G)  # [16, 9]


def tiles(x, pads, out):
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


def winograd(x, w, pads):
    out = out_size(x.shape[1:3], (3, 3), 1, pads)
    n, th, tw, co = x.shape[0], -(-out[0] // 2), -(-out[1] // 2), w.shape[3]
    u = high(jnp.asarray(_GG, w.dtype), w.reshape(9, -1)).reshape(16, *w.shape[2:])
    # sixteen products, not one batched: each tile is read while it is in the cache
    cut = tiles(x, pads, out)
    m = [(v @ u[k]).reshape(n, th, tw, co) for k, v in enumerate(cut)]

    def at(m):
        return m[0] + m[1] + m[2], m[1] - m[2] - m[3]

    columns = [at([m[4 * a + b] for a in range(4)]) for b in range(4)]
    rows = [jnp.stack(at([columns[b][a] for b in range(4)]), 3) for a in range(2)]
    y = jnp.stack(rows, 2).reshape(n, 2 * th, 2 * tw, co)
    return y[:, : out[0], : out[1]]


def winograd_kernel(x, g, pads, cpu=False):
    out, co = g.shape[1:3], g.shape[3]
    g = jnp.pad(g, ((0, 0), (0, out[0] % 2), (0, out[1] % 2), (0, 0)))
    # [2, 2, pixels, filters]: the four places in a tile of the outputs
    g = jnp.stack([g[:, i::2, j::2] for i in (0, 1) for j in (0, 1)])
    g = g.reshape(4, -1, co)
    if cpu:
        # a product that sums over the rows of both operands is far slower there than
        # one over columns and rows, and a product with the identity turns rows into
        # columns faster than a transposition
        one = jnp.eye(co, dtype=g.dtype)
        g = lax.dot_general(one, g.reshape(-1, co), (((1,), (1,)), ((), ())))
        g = g.reshape(co, 4, -1).swapaxes(0, 1)

    def a(g):
        return g[0], g[0] + g[1], g[0] - g[1], -g[1]

    columns = [a([g[2 * i + j] for i in range(2)]) for j in range(2)]
    rows = [a([columns[j][i] for j in range(2)]) for i in range(4)]
    d = [v for row in rows for v in row]
    cut = zip(tiles(x, pads, out), d, strict=True)
    u = jnp.stack([e @ v if cpu else v.T @ e for v, e in cut])
    w = high(jnp.asarray(_GG.T, g.dtype), u.reshape(16, -1))
    w = w.reshape(3, 3, *u.shape[1:])
    return w.swapaxes(2, 3) if cpu else w


# a map of a few pixels: the convolution is one product, by the matrix of a linear map
# that has a tap, or nothing, for every pair of an input and an output pixel


def _pairs(size, out, window, stride, pads, dtype):
    """Which tap joins an input pixel and an output pixel: `[pixels * pixels, taps]`."""

    def axis(size, out, window, pad):
        at = stride * np.arange(out)[:, None] + np.arange(window) - pad[0]
        return np.arange(size)[:, None, None] == at

    rows, columns = map(axis, size, out, window, pads)
    joins = np.einsum("hia,wjb->hwijab", rows, columns)
    return jnp.asarray(joins.reshape(-1, math.prod(window)), dtype)


def _matrix(w, stride, pads, size, out):
    joins = _pairs(size, out, w.shape[:2], stride, pads, w.dtype)
    taps = w.reshape(-1, math.prod(w.shape[2:]))
    m = high(joins, taps).reshape(math.prod(size), math.prod(out), *w.shape[2:])
    return m.swapaxes(1, 2).reshape(m.shape[0] * m.shape[2], -1)


def dense(x, w, stride, pads):
    out = out_size(x.shape[1:3], w.shape[:2], stride, pads)
    y = x.reshape(x.shape[0], -1) @ _matrix(w, stride, pads, x.shape[1:3], out)
    return y.reshape(x.shape[0], *out, w.shape[3])


def dense_input(g, w, stride, pads, size):
    x = g.reshape(g.shape[0], -1) @ _matrix(w, stride, pads, size, g.shape[1:3]).T
    return x.reshape(g.shape[0], *size, w.shape[2])


def dense_kernel(x, g, window, stride, pads):
    (size, ci), (out, co) = ((a.shape[1:3], a.shape[3]) for a in (x, g))
    m = x.reshape(x.shape[0], -1).T @ g.reshape(g.shape[0], -1)
    m = m.reshape(math.prod(size), ci, math.prod(out), co).swapaxes(1, 2)
    joins = _pairs(size, out, window, stride, pads, x.dtype)
    return high(joins.T, m.reshape(-1, ci * co)).reshape(*window, ci, co)


# what a fast algorithm makes of an image is several times the image: beyond an episode's
# worth of images, some at a time, or the memory grows with their number. A device of one
# core takes so few that their tiles stay in its cache; several share larger products
# among them, and so do kernel gradients, whose sum is no other with other cores

CACHE = 2**22
"""Bytes that stay in the cache of a core."""


def block_size(images, most=128):
    """Images a block: all that there are up to `most`, or the largest divisor that fits."""
    if images <= most:
        return images
    fit = range(max(most // 4, 1), most + 1)
    return max((d for d in fit if images % d == 0), default=images)


def cached(size, channels, dtype):
    """Images of this size whose tiles fit into the cache of a core."""
    tiles = math.prod(-(-n // 2) for n in size)
    return max(CACHE // (16 * tiles * channels * dtype.itemsize), 1)


def in_blocks(f, size, *arrays):
    """`f` on blocks of the images of `arrays`, one after another: `[blocks, ...]`."""
    n = arrays[0].shape[0]
    if size == n:
        return f(*arrays)[None]
    parts = [a.reshape(n // size, size, *a.shape[1:]) for a in arrays]
    return lax.map(lambda some: f(*some), parts)


def winograd_in_blocks(x, w, pads, size):
    y = in_blocks(lambda x: winograd(x, w, pads), size, x)
    return y.reshape(x.shape[0], *y.shape[2:])


def high(a, b):
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)
