"""A small transformer, for images cut in patches and for sequences of vectors."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.checks import at_least, one_of
from jaxmeta.core import Model
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.attention import MultiHeadAttention


class Block(nnx.Module):
    """Pre-norm attention and a two-layer perceptron, each added to its input.

    Of rows that look at others than themselves, at a context, give it as `seen`, with
    the weights of its rows.
    """

    def __init__(self, width, heads, expansion, *, rngs):
        self.norm1 = nnx.LayerNorm(width, rngs=rngs)
        self.attention = MultiHeadAttention(
            width, width, width, width, heads, rngs=rngs
        )
        self.norm2 = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, expansion * width, rngs=rngs)
        self.down = nnx.Linear(expansion * width, width, rngs=rngs)

    def __call__(self, x, seen=None, weights=None):
        y = self.norm1(x)
        z = y if seen is None else self.norm1(seen)
        x = x + self.attention(y, z, z, weights=weights)
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class Transformer(nnx.Module):
    """`embed`, `position`, `block1`, ..., `norm` and, with classes, a linear `head`."""

    def __init__(
        self, tokens, features, outputs, patch, width, depth, heads, expansion, pool, *,
        rngs,
    ):  # fmt: skip
        self.patch = patch
        self.depth = depth
        self.embed = nnx.Linear(features, width, rngs=rngs)
        small = jax.nn.initializers.normal(0.02)
        self.cls = (
            nnx.Param(small(rngs.params(), (1, width))) if pool == "cls" else None
        )
        tokens = tokens + (pool == "cls")
        self.position = nnx.Param(small(rngs.params(), (tokens, width)))
        for i in range(1, depth + 1):
            setattr(self, f"block{i}", Block(width, heads, expansion, rngs=rngs))
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.head = None if outputs is None else nnx.Linear(width, outputs, rngs=rngs)

    def __call__(self, x):
        x = patches(x, self.patch) if x.ndim == 4 else x  # [n, t, features]
        x = self.embed(x)
        if self.cls is not None:
            cls = jnp.broadcast_to(self.cls[...], (x.shape[0], 1, x.shape[-1]))
            x = jnp.concatenate([cls, x], 1)
        x = x + self.position[...]
        for i in range(1, self.depth + 1):
            x = getattr(self, f"block{i}")(x)
        x = self.norm(x)
        x = x.mean(1) if self.cls is None else x[:, 0]
        return x if self.head is None else self.head(x)


def patches(images: jax.Array, size: int) -> jax.Array:
    """Cuts `[n, h, w, c]` into square patches, `[n, (h/size)(w/size), size size c]`."""
    n, h, w, c = images.shape
    if h % size or w % size:
        raise ValueError(
            f"patch: got {size}, wants a divisor of the images' sides {h} and {w}"
        )
    x = images.reshape(n, h // size, size, w // size, size, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, -1, size * size * c)


def transformer(
    outputs: int | None,
    *,
    patch: int = 7,
    width: int = 64,
    depth: int = 4,
    heads: int = 4,
    expansion: int = 4,
    pool: Literal["mean", "cls"] = "mean",
) -> Model:
    """A transformer encoder with learned positions and pre-norm blocks.

        x <- x + Attention(LN(x)),   x <- x + W_2 gelu(W_1 LN(x))

    Images `[n, h, w, c]` are cut into patches, each a token (a small vision
    transformer); sequences of vectors `[n, t, d]` are taken as they are. Positions are
    learned, so that the size of the images, or the length of the sequences, is fixed.

    Args:
      outputs: width of the linear head, or `None` for pooled features.
      patch: side of a patch in pixels; it must divide the image.
      width: length of a token.
      depth: blocks.
      heads: attention heads, a divisor of `width`.
      expansion: hidden width of the perceptrons, in units of `width`.
      pool: "mean" over tokens, or the output at an extra, learned token "cls".

    Returns:
      A `Model` with parameters "embed/kernel", "block1/attention/query/kernel", ...,
      "head/bias".

    Raises:
      ValueError: for bad sizes or an unknown `pool`.

    References:
      Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, arXiv:2010.11929, eqs.
      (1)-(4); Beyer et al. 2022, arXiv:2205.01580, for the mean.

    >>> model = transformer(5, width=8, depth=1, heads=2)
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    >>> model.apply(meta, jnp.zeros((3, 28, 28, 1)))[0].shape
    (3, 5)
    """
    at_least(1, patch=patch, width=width, depth=depth, heads=heads, expansion=expansion)
    if outputs is not None:
        at_least(1, outputs=outputs)
    if width % heads:
        raise ValueError(f"heads: got {heads}, wants a divisor of the width {width}")
    one_of(("mean", "cls"), pool=pool)

    def build(rngs, inputs):
        shape = inputs.shape
        if len(shape) == 4:
            cut = jax.eval_shape(lambda: patches(jnp.zeros(shape), patch))
            tokens, features = cut.shape[1:]
        elif len(shape) == 3:
            tokens, features = shape[1:]
        else:
            raise ValueError(
                f"inputs: got shape {shape}, wants images [n, h, w, c] or "
                "sequences [n, t, d]"
            )
        if math.prod(shape[1:]) == 0:
            raise ValueError(f"inputs: got shape {shape}, wants something to look at")
        return Transformer(
            tokens, features, outputs, patch, width, depth, heads, expansion, pool,
            rngs=rngs,
        )  # fmt: skip

    return from_nnx_for(build)
