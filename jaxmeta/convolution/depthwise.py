"""Convolution of each channel with a kernel of its own.

Chollet 2017, Xception, https://arxiv.org/abs/1610.02357; Howard et al. 2017, MobileNets,
https://arxiv.org/abs/1704.04861.
"""

import jax.numpy as jnp
from jax import lax

from jaxmeta.shapes import Array, Float


def depthwise(
    x: Float[Array, "n height width channels"],
    w: Float[Array, "k k 1 channels"],
    *,
    stride: int = 1,
) -> Float[Array, "n out_height out_width channels"]:
    """Convolves every channel with its own kernel, `SAME`.

        y[n, i, j, c] = sum_{a, b} x[n, s i + a - p, s j + b - q, c] w[a, b, 0, c]

    On a CPU it is this sum of k^2 shifted products, in one pass over the images: the
    library behind `lax.conv_general_dilated` takes groups one by one there. Elsewhere it
    is that function. Both have derivatives of every order, and weights of every task's
    own under `vmap`.

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
    window, strides = w.shape[:2], (stride, stride)
    pads = lax.padtype_to_pads(x.shape[1:3], window, strides, "SAME")

    def shifted(x, w):
        out = [-(-size // stride) for size in x.shape[1:3]]
        x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
        last = [(n - 1) * stride + 1 for n in out]
        y = jnp.zeros((), x.dtype)
        for a in range(window[0]):
            for b in range(window[1]):
                rows, columns = a + last[0], b + last[1]
                y = y + x[:, a:rows:stride, b:columns:stride] * w[a, b, 0]
        return y

    def grouped(x, w):
        return lax.conv_general_dilated(
            x, w, strides, pads,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[3],
        )  # fmt: skip

    return lax.platform_dependent(x, w, cpu=shifted, default=grouped)
