"""The network of SNAIL: attention and temporal convolutions, both causal.

Mishra, Rohaninejad, Chen, Abbeel 2018, A Simple Neural Attentive Meta-Learner,
https://arxiv.org/abs/1707.03141, section 3 and appendix A.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.core import Array, Model
from jaxmeta.functional.causal import (
    attention_weights,
    causal_conv,
    causal_mask,
    softmax_over,
)
from jaxmeta.models.adapter import from_nnx


class Past(NamedTuple):
    """What SNAIL keeps of a sequence of t elements, for the one that comes next.

    Attributes:
      real: `[t]`, 0 for padding.
      looked: for each attention block its keys `[t, k]` and values `[t, v]`.
      tails: for each dense block of each TC the one row `[c]` that its convolution
        reaches back to; zeros where that is before the sequence.
    """

    real: Array
    looked: tuple[tuple[Array, Array], ...]
    tails: tuple[tuple[Array, ...], ...]


class AttentionBlock(nnx.Module):
    """Looks back by content and appends what it read to its input."""

    def __init__(self, width, keys, values, *, rngs):
        self.query = nnx.Linear(width, keys, rngs=rngs)
        self.key = nnx.Linear(width, keys, rngs=rngs)
        self.value = nnx.Linear(width, values, rngs=rngs)

    def __call__(self, x, mask):
        keys, values = self.key(x), self.value(x)
        read = attention_weights(self.query(x), keys, mask) @ values
        return jnp.concatenate([x, read], -1), (keys, values)

    def after(self, x, kept, real):
        """Each of `[q, c]` as the element after the t that were kept, and itself."""
        keys, values = kept
        query, own = self.query(x), self.key(x)
        itself = jnp.sum(query * own, -1, keepdims=True)
        scores = jnp.concatenate([query @ keys.T, itself], -1)
        seen = jnp.append(real > 0, True)
        weights = softmax_over(scores / jnp.sqrt(1.0 * query.shape[-1]), seen)
        read = weights[:, :-1] @ values + weights[:, -1:] * self.value(x)
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
        t = x.shape[0]
        tail = x[t - self.dilation] if self.dilation <= t else jnp.zeros_like(x[0])
        return self._append(x, y), tail

    def after(self, x, tail):
        """Each of `[q, c]` as the element after those that left the tail `[c]`."""
        kernel = self.kernel[...]
        return self._append(x, tail @ kernel[0] + x @ kernel[1] + self.bias[...])

    def _append(self, x, y):
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

    def _blocks(self):
        return [getattr(self, f"block{i}") for i in range(1, self.depth + 1)]

    def __call__(self, x, real):
        tails = []
        for block in self._blocks():
            x, tail = block(x)
            # padding stays zero in every layer, as what is before the sequence is
            x = x * real[:, None]
            tails.append(tail)
        return x, tuple(tails)

    def after(self, x, tails):
        for block, tail in zip(self._blocks(), tails, strict=True):
            x = block.after(x, tail)
        return x


class Snail(nnx.Module):
    """Attention, convolutions, attention, convolutions, attention, linear `head`.

    `part` says what a call gives: outputs along the sequence, what is kept of it for
    later, or the outputs of elements each of which comes next after what was kept.
    """

    def __init__(
        self, width, ways, blocks, filters, attention, dilation, part, *, rngs
    ):
        self.part = part
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
        if self.part == "after":
            return self._after(*inputs)
        x, past = self._along(*inputs)
        return past if self.part == "past" else self.head(x)

    def _along(self, x, real):
        mask = causal_mask(x.shape[0], real > 0)
        x = x * real[:, None]
        looked, tails = [], []
        for i in range(1, self.depth + 1):
            x, kept = getattr(self, f"attention{i}")(x, mask)
            x = x * real[:, None]
            looked.append(kept)
            if i < self.depth:
                x, tail = getattr(self, f"temporal{i}")(x, real)
                tails.append(tail)
        return x, Past(real, tuple(looked), tuple(tails))

    def _after(self, past, x):
        for i in range(1, self.depth + 1):
            kept = past.looked[i - 1]
            x = getattr(self, f"attention{i}").after(x, kept, past.real)
            if i < self.depth:
                x = getattr(self, f"temporal{i}").after(x, past.tails[i - 1])
        return self.head(x)


class SnailNetwork(NamedTuple):
    """SNAIL's network, as three functions of the same parameters.

    Attributes:
      along: a `Model` of `(sequence [t, width], real [t])` with outputs `[t, ways]`;
        `real` is 0 for padding, which must come first. Any length t will do.
      past: a `Model` of the same whose output is what is kept of it, a `Past`.
      after: a `Model` of `(Past, elements [q, width])` with outputs `[q, ways]`: each
        element as the next one after the sequence. The last row of `along`, for the
        work of one element.
    """

    along: Model
    past: Model
    after: Model


@functools.lru_cache(maxsize=64)
def snail_network(
    width: int,
    ways: int,
    blocks: int,
    *,
    filters: int = 128,
    attention: tuple[tuple[int, int], ...] = ((64, 32), (256, 128), (512, 256)),
    dilation: int = 2,
) -> SnailNetwork:
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
      A `SnailNetwork`.

    >>> along = snail_network(3, 2, 1, filters=4, attention=((4, 4), (4, 4))).along
    >>> inputs = (jnp.ones((5, 3)), jnp.ones(5))
    >>> along.apply(along.init(jax.random.key(0), inputs), inputs)[0].shape
    (5, 2)
    """
    options = (width, ways, blocks, filters, attention, dilation)

    def model(part):
        return from_nnx(lambda rngs: Snail(*options, part, rngs=rngs))

    return SnailNetwork(model("along"), model("past"), model("after"))
