"""Pooling over 2x2 windows, by strided slices: its gradient is one pass."""

import jax
import jax.numpy as jnp

from jaxmeta.functional.meshes import automatic
from jaxmeta.shapes import Array, Float


def max_pool(
    x: Float[Array, "n height width channels"],
) -> Float[Array, "n out_height out_width channels"]:
    """Maximum over 2x2 windows with a stride of 2; an odd last row or column is dropped.

    Comparing strided slices is faster on a CPU than `lax.reduce_window`, and a mask of the
    chosen entries spreads the gradient in one pass. It compares with a select, never
    for equality with a maximum that the compiler may have computed a second time and
    rounded otherwise, which loses gradients. On ties the gradient goes to one entry.

    Args:
      x: `[n, height, width, channels]`.

    Returns:
      `[n, height // 2, width // 2, channels]`.

    >>> import jax.numpy as jnp
    >>> max_pool(jnp.arange(15.0).reshape(1, 3, 5, 1))[0, :, :, 0]
    Array([[6., 8.]], dtype=float32)
    """
    return automatic(_max_pool, x)


def max_pool_3x3(
    x: Float[Array, "n height width channels"],
) -> Float[Array, "n out_height out_width channels"]:
    """Maximum over 3x3 windows with a stride of 2, one pixel of padding at every edge.

    Rows first, then columns: four comparisons for eight.

    Args:
      x: `[n, height, width, channels]`.

    Returns:
      `[n, ceil(height / 2), ceil(width / 2), channels]`.

    >>> import jax.numpy as jnp
    >>> max_pool_3x3(jnp.arange(9.0).reshape(1, 3, 3, 1))[0, :, :, 0]
    Array([[4., 5.],
           [7., 8.]], dtype=float32)
    """
    return automatic(lambda x: _every_other(_every_other(x, 1), 2), x)


def _every_other(x, axis):
    out = -(-x.shape[axis] // 2)
    edge = [(0, 0)] * x.ndim
    edge[axis] = (1, 2)  # the last one is only there for the slices to be alike
    x = jnp.pad(x, edge, constant_values=-jnp.inf)
    at = [jax.lax.slice_in_dim(x, a, a + 2 * out - 1, 2, axis) for a in range(3)]
    return _larger(_larger(at[0], at[1]), at[2])


@jax.custom_jvp
def _max_pool(x):
    (a, b), (c, d) = _corners(x)
    return _larger(_larger(a, b), _larger(c, d))


@_max_pool.defjvp
def _max_pool_jvp(primals, tangents):
    # transposed, slices would be four paddings that are added up
    (x,), (t,) = primals, tangents
    (a, b), (c, d) = _corners(x)
    upper, lower = jnp.where(a > b, 0, 1), jnp.where(c > d, 2, 3)
    chosen = jnp.where(_larger(a, b) > _larger(c, d), upper, lower).astype(jnp.int8)
    chosen = chosen[:, :, None, :, None, :]
    mask = chosen == jnp.arange(4, dtype=jnp.int8).reshape(2, 1, 2, 1)
    h, w = mask.shape[1], mask.shape[3]
    t = t[:, : 2 * h, : 2 * w].reshape(mask.shape)  # [n, h, 2, w, 2, c]
    return _max_pool(x), jnp.where(mask, t, 0).sum((2, 4))


def avg_pool(
    x: Float[Array, "n height width channels"],
) -> Float[Array, "n out_height out_width channels"]:
    """Mean over 2x2 windows with a stride of 2; an odd last row or column is dropped.

    Args:
      x: `[n, height, width, channels]`.

    Returns:
      `[n, height // 2, width // 2, channels]`.

    >>> import jax.numpy as jnp
    >>> avg_pool(jnp.arange(15.0).reshape(1, 3, 5, 1))[0, :, :, 0]
    Array([[3., 5.]], dtype=float32)
    """

    def mean(x):
        (a, b), (c, d) = _corners(x)
        return (a + b + c + d) / 4

    return automatic(mean, x)


def _corners(x):
    """The four entries of every window, `[n, height // 2, width // 2, c]` each."""
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    return [[x[:, i:h:2, j:w:2] for j in (0, 1)] for i in (0, 1)]


def _larger(a, b):
    return jnp.where(a > b, a, b)
