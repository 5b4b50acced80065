"""Provisional: replaced by the measured version."""

import jax.numpy as jnp
from jax import lax


def conv(x, w, *, stride=1, padding="SAME", impl="auto"):
    return lax.conv_general_dilated(
        x, w, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def max_pool(x):
    h, w = x.shape[1] // 2 * 2, x.shape[2] // 2 * 2
    a, b = x[:, 0:h:2, 0:w:2], x[:, 1:h:2, 0:w:2]
    c, d = x[:, 0:h:2, 1:w:2], x[:, 1:h:2, 1:w:2]
    a, c = jnp.where(a > b, a, b), jnp.where(c > d, c, d)
    return jnp.where(a > c, a, c)
