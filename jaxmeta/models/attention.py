"""Attention with learned projections."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.functional.causal import attention_weights


class MultiHeadAttention(nnx.Module):
    """Heads that look at different things, each in its own projection.

        head_h = softmax(Q W_h^Q (K W_h^K)^T / sqrt(d)) V W_h^V,   y = [head_1, ...] W^O

    Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2.
    """

    def __init__(self, queries, keys, values, width, heads, *, rngs):
        if width % heads:
            raise ValueError(
                f"heads: got {heads}, wants a divisor of the width {width}"
            )
        self.heads = heads
        self.query = nnx.Linear(queries, width, use_bias=False, rngs=rngs)
        self.key = nnx.Linear(keys, width, use_bias=False, rngs=rngs)
        self.value = nnx.Linear(values, width, use_bias=False, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, queries, keys, values, mask=None, weights=None):
        """`[..., n, .], [..., m, .], [..., m, .] -> [..., n, width]`."""
        q, k = self._split(self.query(queries)), self._split(self.key(keys))
        y = attention_weights(q, k, mask, weights) @ self._split(self.value(values))
        y = jnp.swapaxes(y, -2, -3)  # [..., n, heads, d]
        return self.out(y.reshape(*y.shape[:-2], -1))

    def _split(self, x):
        x = x.reshape(*x.shape[:-1], self.heads, -1)
        return jnp.swapaxes(x, -2, -3)  # [..., heads, n, d]


class CrossAttention(nnx.Module):
    """Multi-head attention as a network of `(queries, keys, values, weights)`."""

    def __init__(self, queries, keys, values, heads, *, rngs):
        self.attention = MultiHeadAttention(
            queries, keys, values, values, heads, rngs=rngs
        )

    def __call__(
        self, inputs: tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]
    ):
        queries, keys, values, weights = inputs
        return self.attention(queries, keys, values, weights=weights)
