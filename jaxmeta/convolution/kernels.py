"""A convolution and its two gradients on a GPU, many kernels at once, without patches.

Per-task weights make a convolution a batch of matrix products with patches nine times
the size of the images, and the traffic decides. These kernels gather the patches tile by
tile from the cache: images are read and outputs written once. Pallas, lowered by Triton.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

CONFIG: Any = jax.config  # it makes its attributes as JAX is imported

LEAST, MOST = 16, 64
"""Channels a matrix product takes at a time: tensor cores want at least 16."""

PROGRAMS = 1024
"""Programs that fill a GPU: few tasks share their pixels out among several."""

TF32 = (None, "default", "fastest", "tensorfloat32", "high")
"""Values of `jax_default_matmul_precision` under which a GPU rounds float32 operands."""


class Plan(NamedTuple):
    """How a kernel works; chosen by measurement.

    Attributes:
      pixels: output pixels at a time.
      warps: of a program.
      stages: loads in flight.
      most: channels at a time, at most.
      split: whether a float32 operand is a sum of two of bfloat16, and a product three
        of theirs: closer than TF32.
    """

    pixels: int
    warps: int
    stages: int
    most: int = MOST
    split: bool = False


CONV = Plan(pixels=128, warps=8, stages=3)
KERNEL = Plan(pixels=64, warps=4, stages=2, split=True)


def fits(dtype, channels: tuple[int, ...], elements: int) -> bool:
    """Whether the kernels cover a case.

    Args:
      dtype: of images and kernels. Not float64, nor float32 where products are to be of
        full precision: tensor cores have neither.
      channels: of images, kernels and outputs; tensor cores want multiples of 16.
      elements: of the largest array; addresses have 32 bits.
    """
    full = dtype == jnp.float32 and CONFIG.jax_default_matmul_precision not in TF32
    return (
        dtype in (jnp.float32, jnp.bfloat16, jnp.float16)
        and not full
        and all(c % LEAST == 0 for c in channels)
        and elements < 2**31
    )


def gather_conv(
    x, w, *, size, stride, pads, transposed=False, plan=CONV, interpret=False
):
    """Convolves each task's images with its own kernel.

        y[t, n, i, j, o] = sum_abc x[t, n, s i + a - p, s j + b - q, c] w[t, a, b, o, c]

    or, `transposed`, reads x at (i + p - a) / s, (j + q - b) / s, where those are whole:
    the input gradient.

    Args:
      x: `[tasks, n, height, width, channels]`.
      w: `[tasks, kernel_height, kernel_width, filters, channels]`: what is summed over
        comes last, as tensor cores want it.
      size: height and width of the outputs.
      stride: s.
      pads: `((p, _), (q, _))`.
      transposed: the input gradient of such a convolution.
      plan: a `Plan`.
      interpret: run on any device, slowly.

    Returns:
      `[tasks, n, *size, filters]`.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    (tasks, n, height, width, channels), filters = x.shape, w.shape[3]
    few, out = _block(channels, plan), _block(filters, plan)
    rows, window = n * math.prod(size), w.shape[1:3]
    taps, parts = math.prod(window), channels // few

    def kernel(x, w, y):
        row = pl.program_id(1) * plan.pixels + jnp.arange(plan.pixels)
        image, i, j = _digits(row, *size)
        first = pl.program_id(2) * out

        def tap(k, sums):
            a, b, part = _digits(k, window[1], parts)
            place, inside = _place(
                i, j, a, b, (height, width), stride, pads, transposed
            )
            some = part * few + jnp.arange(few)
            values = _load(
                x, image * (height * width) + place, some, inside & (row < rows)
            )
            mine = w[a * window[1] + b, pl.ds(first, out), pl.ds(part * few, few)]
            return _add_product(sums, values, mine, plan.split, trans_b=True)

        sums = jnp.zeros((plan.pixels, out), jnp.float32)
        sums = lax.fori_loop(0, taps * parts, tap, sums)
        at, there = _at(row, first + jnp.arange(out), row < rows)
        triton.store(y.at[at], sums.astype(y.dtype), mask=there)

    y = pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((tasks, rows, filters), x.dtype),
        grid=(tasks, pl.cdiv(rows, plan.pixels), filters // out),
        in_specs=[
            pl.BlockSpec((None, n * height * width, channels), lambda t, *_: (t, 0, 0)),
            pl.BlockSpec((None, taps, filters, channels), lambda t, *_: (t, 0, 0, 0)),
        ],
        out_specs=pl.BlockSpec((None, rows, filters), lambda t, *_: (t, 0, 0)),
        compiler_params=triton.CompilerParams(
            num_warps=plan.warps, num_stages=plan.stages
        ),
        interpret=interpret,
    )(x.reshape(tasks, -1, channels), w.reshape(tasks, taps, filters, channels))
    return y.reshape(tasks, n, *size, filters)


def gather_kernel(x, g, *, window, stride, pads, plan=KERNEL, interpret=False):
    """The kernel gradient of `gather_conv`, each task's own.

        w[t, a, b, c, o] = sum_nij x[t, n, s i + a - p, s j + b - q, c] g[t, n, i, j, o]

    Args:
      x: `[tasks, n, height, width, channels]`.
      g: `[tasks, n, out_height, out_width, filters]`.
      window: height and width of the kernel.
      stride: s.
      pads: `((p, _), (q, _))`.
      plan: a `Plan`.
      interpret: run on any device, slowly.

    Returns:
      `[tasks, *window, channels, filters]`.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    (tasks, n, height, width, channels), filters = x.shape, g.shape[4]
    few, out = _block(channels, plan), _block(filters, plan)
    tall, wide = g.shape[2:4]
    rows, parts = n * tall * wide, (channels // few) * (filters // out)
    shares = -(-PROGRAMS // (tasks * window[0] * parts))
    shares = min(shares, max(1, rows // (4 * plan.pixels)))
    chunks = -(-rows // (plan.pixels * shares))  # of a share

    def kernel(x, g, w):
        a, share = pl.program_id(1), pl.program_id(2)
        _, part, column = _digits(pl.program_id(3), channels // few, filters // out)
        some = part * few + jnp.arange(few)
        columns = column * out + jnp.arange(out)

        def add(k, sums):
            row = (share * chunks + k) * plan.pixels + jnp.arange(plan.pixels)
            image, i, j = _digits(row, tall, wide)
            ends = _load(g, row, columns, row < rows)
            found = []
            for b, total in enumerate(sums):
                place, inside = _place(i, j, a, b, (height, width), stride, pads, False)
                values = _load(
                    x, image * (height * width) + place, some, inside & (row < rows)
                )
                found.append(
                    _add_product(total, values, ends, plan.split, trans_a=True)
                )
            return tuple(found)

        sums = (jnp.zeros((few, out), jnp.float32),) * window[1]
        sums = lax.fori_loop(0, chunks, add, sums)
        for b, total in enumerate(sums):
            w[b, pl.ds(part * few, few), pl.ds(column * out, out)] = total

    w = pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct(
            (shares, tasks, *window, channels, filters), jnp.float32
        ),
        grid=(tasks, window[0], shares, parts),
        in_specs=[
            pl.BlockSpec((None, n * height * width, channels), lambda t, *_: (t, 0, 0)),
            pl.BlockSpec((None, rows, filters), lambda t, *_: (t, 0, 0)),
        ],
        out_specs=pl.BlockSpec(
            (None, None, None, window[1], channels, filters),
            lambda t, a, share, _: (share, t, a, 0, 0, 0),
        ),
        compiler_params=triton.CompilerParams(
            num_warps=plan.warps, num_stages=plan.stages
        ),
        interpret=interpret,
    )(x.reshape(tasks, -1, channels), g.reshape(tasks, -1, filters))
    return w.sum(0).astype(x.dtype)


def _load(ref, row, column, live):
    from jax.experimental.pallas import triton

    at, live = _at(row, column, live)
    return triton.load(ref.at[at], mask=live, other=0)


def _at(row, column, live):
    """Indices and a mask, `[rows, columns]`, of those rows and columns."""
    shape = row.size, column.size
    row, live = (jnp.broadcast_to(v[:, None], shape) for v in (row, live))
    return (row, jnp.broadcast_to(column, shape)), live


def _add_product(sums, a, b, split, **transposed):
    from jax.experimental.pallas import triton

    pairs = [(a, b)]
    if split and a.dtype == jnp.float32:
        (a, less_a), (b, less_b) = _halves(a), _halves(b)
        pairs = [(less_a, b), (a, less_b), (a, b)]
    for a, b in pairs:
        sums = sums + triton.dot(a, b, **transposed)
    return sums


def _halves(x):
    """Two arrays of bfloat16 whose sum is x to 16 bits."""
    high = x.astype(jnp.bfloat16)
    return high, (x - high.astype(jnp.float32)).astype(jnp.bfloat16)


def _digits(k, *bases):
    """k as a number of three digits whose last two have those bases."""
    found = []
    for base in reversed(bases):
        found.append(lax.rem(k, base) if base > 1 else jnp.zeros_like(k))
        k = lax.div(k, base) if base > 1 else k
    return k, *reversed(found)


def _block(channels: int, plan: Plan) -> int:
    """The largest power of two that divides the channels, up to the plan's."""
    return math.gcd(channels, plan.most)


def _place(i, j, a, b, size, stride, pads, transposed):
    """Where the tap (a, b) of output pixel (i, j) reads, and whether that is inside."""
    (top, _), (left, _) = pads
    if transposed:
        i, j = i + top - a, j + left - b
        inside = (i >= 0) & (j >= 0)
        if stride > 1:
            inside &= (lax.rem(i, stride) == 0) & (lax.rem(j, stride) == 0)
            i, j = lax.div(i, stride), lax.div(j, stride)
    else:
        i, j = i * stride + a - top, j * stride + b - left
        inside = (i >= 0) & (j >= 0)
    inside = inside & (i < size[0]) & (j < size[1])
    return i * size[1] + j, inside
