"""The relation module: a small network that scores a pair.

Sung et al. 2018, https://arxiv.org/abs/1711.06025.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx

from jaxmeta.checks import at_least
from jaxmeta.convolution import conv, max_pool
from jaxmeta.core import Array, Model
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.layers import Conv, NormName, check_norm, norm_layer


class AllPairs(NamedTuple):
    """Every pair of a left and a right half, not put together: `[r * l]` of them.

    Pair `i * l + j` is `concatenate([left[j], right[i]])`.

    Attributes:
      left: `[l, ..., d]`.
      right: `[r, ..., d]`.

    >>> import jax, jax.numpy as jnp
    >>> model, pairs = relation(), AllPairs(jnp.zeros((3, 5)), jnp.zeros((4, 5)))
    >>> model.apply(model.init(jax.random.key(0), pairs), pairs)[0].shape
    (12,)
    """

    left: Array
    right: Array


class PairModel(Model):
    """A `Model` for pairs that takes them as `AllPairs`, too; any other gets them joined."""

    __slots__ = ()


class Relation(nnx.Module):
    """Two convolutions and two dense layers; for vectors the dense layers alone.

    The first layer is linear in a pair, W [a, b] = W_a a + W_b b: where every pair of
    `AllPairs` is asked for, it takes l + r halves and not l r pairs.
    """

    def __init__(self, shape, filters, hidden, norm, *, rngs):
        self.maps = len(shape) == 3
        if self.maps:
            height, width, channels = shape
            self.conv1 = Conv(channels, filters, bias=norm is None, rngs=rngs)
            self.norm1 = norm_layer(norm, filters)
            self.conv2 = Conv(filters, filters, bias=norm is None, rngs=rngs)
            self.norm2 = norm_layer(norm, filters)
            for _ in range(2):
                height, width = _pooled(height), _pooled(width)
            features = height * width * filters
        else:
            features = math.prod(shape)
        self.hidden = nnx.Linear(features, hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, 1, rngs=rngs)

    def __call__(self, x):
        if self.maps:
            x = self._rest(_first(self.conv1, conv, x), self.norm1)
            x = self._rest(self.conv2(x), self.norm2)
            x = self.hidden(x.reshape(x.shape[0], -1))
        else:
            x = _first(self.hidden, jnp.matmul, x)
        return self.head(nnx.relu(x))[:, 0]

    @staticmethod
    def _rest(x, norm):
        x = nnx.relu(x if norm is None else norm(x))
        return max_pool(x) if min(x.shape[1:3]) > 1 else x


def _first(layer, linear, x):
    """`layer` of pairs, put together or not; `linear` is what it does with its kernel."""
    if not isinstance(x, AllPairs):
        return layer(x)
    kernel, d = layer.kernel[...], x.left.shape[-1]
    left = linear(x.left, kernel[..., :d, :])
    right = linear(x.right, kernel[..., d:, :])
    both = left + right[:, None]
    both = both.reshape(-1, *both.shape[2:])
    return both if layer.bias is None else both + layer.bias[...]


def _pooled(size: int) -> int:
    return max(size // 2, 1)


def relation(
    *, filters: int = 64, hidden: int = 8, norm: NormName | None = "batch"
) -> Model:
    """A relation module: how much do the two halves of a pair belong together?

        z = w . relu(V pool(relu(norm(W2 * pool(relu(norm(W1 * pair)))))) + b)

    Its sigmoid is the relation score. Vectors `[m, d]` in place of feature maps go
    through the two dense layers alone.

    Args:
      filters: channels of the two convolutions; 64 as published.
      hidden: width of the first dense layer; 8 as published.
      norm: as in `conv4`; "batch" takes its statistics over all the pairs at hand.

    Returns:
      A `Model` for pairs `[m, height, width, channels]` or `[m, d]`, giving `[m]`. Every
      pair of two sets is cheapest as `AllPairs`. Weights are those of the pairs, `[m]`,
      and what pairs of weight 0 hold must be finite.

    Raises:
      ValueError: for sizes below 1 or an unknown norm.

    References:
      Sung et al. 2018, Learning to Compare, arXiv:1711.06025, figure 2.

    >>> import jax, jax.numpy as jnp
    >>> model, pairs = relation(filters=4), jnp.zeros((6, 5, 5, 8))
    >>> model.apply(model.init(jax.random.key(0), pairs), pairs)[0].shape
    (6,)
    """
    at_least(1, filters=filters, hidden=hidden)
    check_norm(norm)

    def build(rngs, inputs):
        apart = isinstance(inputs, AllPairs)
        x = inputs.left if apart else inputs
        if x.ndim not in (2, 4):
            raise ValueError(
                "inputs: wants pairs of maps [m, height, width, channels] or of vectors "
                f"[m, d], got shape {x.shape}"
            )
        *shape, channels = x.shape[1:]
        shape = (*shape, 2 * channels if apart else channels)
        return Relation(shape, filters, hidden, norm, rngs=rngs)

    return PairModel(*from_nnx_for(build, rows=False))
