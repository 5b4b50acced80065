"""The network of SNAIL: attention and temporal convolutions, both causal.

Mishra, Rohaninejad, Chen, Abbeel 2018, A Simple Neural Attentive Meta-Learner,
https://arxiv.org/abs/1707.03141, section 3 and appendix A.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.core import Model
from jaxmeta.functional.causal import attention_weights, causal_conv, causal_mask
from jaxmeta.models.adapter import from_nnx


class AttentionBlock(nnx.Module):
    """Looks back by content and appends what it read to its input."""

    def __init__(self, width, keys, values, *, rngs):
        self.query = nnx.Linear(width, keys, rngs=rngs)
        self.key = nnx.Linear(width, keys, rngs=rngs)
        self.value = nnx.Linear(width, values, rngs=rngs)

    def __call__(self, x, mask):
        read = attention_weights(self.query(x), self.key(x), mask) @ self.value(x)
        return jnp.concatenate([x, read], -1)


class DenseBlock(nnx.Module):
    """A gated causal convolution, appended to its input."""

    def __init__(self, width, filters, dilation, *, rngs):
        self.dilation = dilation
        shape = (2, width, 2 * filters)
        glorot = jax.nn.initializers.glorot_uniform()
        self.kernel = nnx.Param(glorot(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(2 * filters))

    def __call__(self, x):
        y = causal_conv(x, self.kernel[...], self.bias[...], dilation=self.dilation)
        filtered, gate = jnp.split(y, 2, -1)
        return jnp.concatenate([x, jnp.tanh(filtered) * jax.nn.sigmoid(gate)], -1)


class TemporalBlock(nnx.Module):
    """Dense blocks whose dilation doubles: together they see the whole sequence."""

    def __init__(self, width, filters, blocks, dilation, *, rngs):
        self.depth = blocks
        for i in range(blocks):
            block = DenseBlock(width, filters, dilation * 2**i, rngs=rngs)
            setattr(self, f"block{i + 1}", block)
            width += filters

    def __call__(self, x, real):
        for i in range(1, self.depth + 1):
            # padding stays zero in every layer, as what is before the sequence is
            x = getattr(self, f"block{i}")(x) * real[:, None]
        return x


class Snail(nnx.Module):
    """Attention, convolutions, attention, convolutions, attention, linear `head`."""

    def __init__(self, width, ways, blocks, filters, attention, dilation, *, rngs):
        self.depth = len(attention)
        for i, (keys, values) in enumerate(attention, 1):
            block = AttentionBlock(width, keys, values, rngs=rngs)
            setattr(self, f"attention{i}", block)
            width += values
            if i < self.depth:
                temporal = TemporalBlock(width, filters, blocks, dilation, rngs=rngs)
                setattr(self, f"temporal{i}", temporal)
                width += blocks * filters
        self.head = nnx.Linear(width, ways, rngs=rngs)

    def __call__(self, inputs):
        x, real = inputs  # [t, width], [t]
        mask = causal_mask(x.shape[0], real > 0)
        x = x * real[:, None]
        for i in range(1, self.depth + 1):
            x = getattr(self, f"attention{i}")(x, mask) * real[:, None]
            if i < self.depth:
                x = getattr(self, f"temporal{i}")(x, real)
        return self.head(x)


@functools.lru_cache(maxsize=64)
def snail_network(
    width: int,
    ways: int,
    blocks: int,
    *,
    filters: int = 128,
    attention: tuple[tuple[int, int], ...] = ((64, 32), (256, 128), (512, 256)),
    dilation: int = 2,
) -> Model:
    """SNAIL's network for one sequence.

        Att(64, 32) - TC(T, 128) - Att(256, 128) - TC(T, 128) - Att(512, 256) - linear

    Args:
      width: length of an element, features and label together.
      ways: outputs.
      blocks: dense blocks of each TC; ceil(log2 T) for sequences of length T.
      filters: channels that each dense block appends.
      attention: key and value sizes of the attention blocks; a TC between any two.
      dilation: of the first dense block, doubled from block to block. The paper's is 2;
        1 is WaveNet's, whose receptive field has no holes.

    Returns:
      A `Model` of `(sequence [t, width], real [t])` with outputs `[t, ways]`; `real` is
      0 for padding, which must come first. Any length t will do.

    >>> model = snail_network(3, 2, 1, filters=4, attention=((4, 4), (4, 4)))
    >>> inputs = (jnp.ones((5, 3)), jnp.ones(5))
    >>> model.apply(model.init(jax.random.key(0), inputs), inputs)[0].shape
    (5, 2)
    """
    return from_nnx(
        lambda rngs: Snail(width, ways, blocks, filters, attention, dilation, rngs=rngs)
    )
