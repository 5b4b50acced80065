"""Which algorithm computes a convolution or a gradient of it, decided at lowering.

By then the platform and the number of tasks are known. Shapes are as in
`algorithms`.
"""

import functools
import math

import jax
import jax.numpy as jnp

from jaxmeta.convolution.algorithms import (
    block_size,
    cached,
    dense,
    dense_input,
    dense_kernel,
    dot,
    dot_input,
    dot_kernel,
    flip,
    in_blocks,
    out_size,
    winograd_in_blocks,
    winograd_kernel,
    xla,
)
from jaxmeta.functional.threads import cpu_threads

TINY = 4
"""Pixels of a map up to which a convolution is one dense product on a CPU."""


def _choose(
    impl,
    platform,
    tasks,
    dtype,
    window,
    stride,
    pixels,
    out,
    channels,
    filters,
    large=(500, 5),
):
    """One of "xla", "dot", "dense", "winograd", by measurement; see `conv`.

    `pixels`: of the larger map. `large`: the outputs, and the outputs along a side, from
    which on "winograd" pays.
    """
    wino = window == (3, 3) and stride == 1 and dtype in (jnp.float32, jnp.float64)
    if impl == "triton" or (impl == "winograd" and not wino):
        return "dot"
    if impl != "auto":
        return impl
    cpu = platform == "cpu"
    if platform == "tpu" or (not cpu and tasks == 1):
        # a TPU's compiler moves the fewest bytes with what it knows best, groups
        # included; elsewhere libraries are fast for dense convolutions alone
        return "xla"
    if cpu and tasks == 1 and pixels <= TINY:
        return "dense"
    if channels == 1:
        return "dot"
    pays = math.prod(out) >= large[0] and min(out[1:]) >= large[1]
    if wino and pays and min(channels, filters) >= 16:
        return "winograd"
    if not cpu:
        return "dot"
    # XLA's own loops know float32 only, and no groups
    return "xla" if tasks == 1 and dtype == jnp.float32 else "dot"


def _winograd(x, w, pads, platform):
    size = x.shape[0]
    cpu = platform == "cpu"
    if cpu and cpu_threads() > jax.local_device_count("cpu"):
        size = block_size(size)
    elif cpu:
        out = out_size(x.shape[1:3], (3, 3), 1, pads)
        size = block_size(size, cached(out, max(w.shape[2:]), x.dtype))
    return winograd_in_blocks(x, w, pads, size)


def forward(x, w, *, tasks, platform, stride, pads, size, window, impl):
    out = (x.shape[0], *out_size(size, window, stride, pads))
    pixels = max(math.prod(size), math.prod(out[1:]))
    how = _choose(
        impl, platform, tasks, x.dtype, window, stride, pixels, out, *w.shape[2:]
    )
    if how == "winograd":
        return _winograd(x, w, pads, platform)
    return {"xla": xla, "dense": dense}.get(how, dot)(x, w, stride, pads)


def input_gradient(g, w, *, tasks, platform, stride, pads, size, window, impl):
    out, pixels = (g.shape[0], *size), max(math.prod(size), math.prod(g.shape[1:3]))
    channels = w.shape[3], w.shape[2]
    how = _choose(
        impl, platform, tasks, g.dtype, window, stride, pixels, out, *channels
    )
    if how == "dense":
        return dense_input(g, w, stride, pads, size)
    if how == "xla" and (impl == "xla" or platform != "cpu"):
        shape = jax.ShapeDtypeStruct((g.shape[0], *size, w.shape[2]), g.dtype)
        return jax.linear_transpose(lambda x: xla(x, w, stride, pads), shape)(g)[0]
    if stride > 1:
        return dot_input(g, w, stride, pads, size)
    pads = tuple((k - 1 - a, k - 1 - b) for k, (a, b) in zip(window, pads, strict=True))
    if how == "winograd":
        return _winograd(g, flip(w), pads, platform)
    # a turned kernel is faster there than what XLA makes of the transposition
    return (xla if how == "xla" else dot)(g, flip(w), 1, pads)


def kernel_gradient(x, g, *, tasks, platform, stride, pads, size, window, impl):
    cpu = platform == "cpu"
    channels, large = (x.shape[3], g.shape[3]), (240, 3) if cpu else (500, 5)
    out, pixels = g.shape[:3], max(math.prod(size), math.prod(g.shape[1:3]))
    how = _choose(
        impl, platform, tasks, x.dtype, window, stride, pixels, out, *channels, large
    )
    if how == "dense":
        return dense_kernel(x, g, window, stride, pads)
    if how == "winograd":
        size = block_size(x.shape[0]) if cpu else x.shape[0]
        some = functools.partial(winograd_kernel, pads=pads, cpu=cpu)
        return in_blocks(some, size, x, g).sum(0)
    if how == "xla" and (impl == "xla" or platform != "cpu"):
        shape = jax.ShapeDtypeStruct((*window, x.shape[3], g.shape[3]), x.dtype)
        return jax.linear_transpose(lambda w: xla(x, w, stride, pads), shape)(g)[0]
    return dot_kernel(x, g, window, stride, pads)
