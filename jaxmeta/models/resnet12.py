"""ResNet-12, the larger standard network of few-shot learning.

Lee et al. 2019, https://arxiv.org/abs/1904.03758, section 4.1; DropBlock: Ghiasi, Lin, Le
2018, https://arxiv.org/abs/1810.12890.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jaxmeta.checks import at_least, one_of
from jaxmeta.convolution import max_pool
from jaxmeta.core import Array, Key, Model
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.layers import Conv, NormName, check_norm, norm_layer
from jaxmeta.models.pretrained import check_images
from jaxmeta.shapes import Float


def drop_block(
    x: Float[Array, "n h w c"], key: Key, *, rate: float, size: int
) -> Array:
    """Drops squares of each feature map, and scales up what is left of the example.

        gamma = rate / b^2 * h w / ((h - b + 1) (w - b + 1))              (eq. 1)

    Every position where a b x b square fits starts one with probability gamma. With
    b = 1 it is dropout.

    Args:
      x: feature maps `[n, h, w, c]`.
      key: decides what is dropped.
      rate: the expected fraction to drop (a little less where squares overlap).
      size: b, cut to the size of the map.

    Returns:
      Maps like `x`.

    References:
      Ghiasi et al. 2018, arXiv:1810.12890, algorithm 1.

    >>> bool((drop_block(jnp.ones((1, 4, 4, 2)), jax.random.key(0), rate=0.0, size=2) == 1).all())
    True
    """
    n, h, w, c = x.shape
    b = min(size, h, w)
    gamma = min(1.0, rate * h * w / (b**2 * (h - b + 1) * (w - b + 1)))
    seeds = jax.random.bernoulli(key, gamma, (n, h - b + 1, w - b + 1, c))
    # a pixel is gone if any of the b x b squares that would cover it was started
    edge = ((0, 0), (b - 1, b - 1), (b - 1, b - 1), (0, 0))
    gone = lax.reduce_window(
        seeds.astype(x.dtype), 0.0, lax.max, (1, b, b, 1), (1, 1, 1, 1), edge
    )
    keep = 1.0 - gone
    # counted in each example, not over the batch: no example touches another
    share = keep.mean((1, 2, 3), keepdims=True)
    return x * keep / jnp.where(share > 0, share, 1.0)


class Residual(nnx.Module):
    """Three 3x3 convolutions beside a 1x1 one, then 2x2 max-pooling and DropBlock."""

    def __init__(self, channels, filters, norm, slope, rate, size, *, rngs):
        bias = norm is None
        for i in (1, 2, 3):
            setattr(self, f"conv{i}", Conv(channels, filters, bias=bias, rngs=rngs))
            setattr(self, f"norm{i}", norm_layer(norm, filters))
            if i == 1:
                self.shortcut = Conv(channels, filters, size=1, bias=bias, rngs=rngs)
                self.shortcut_norm = norm_layer(norm, filters)
            channels = filters
        self.slope = slope
        self.rate = rate
        self.size = size
        self.deterministic = False  # set by module.train() and module.eval()

    def __call__(self, x, key):
        y = x
        for i in (1, 2, 3):
            y = _normed(getattr(self, f"norm{i}"), getattr(self, f"conv{i}")(y))
            y = y if i == 3 else nnx.leaky_relu(y, self.slope)
        y = y + _normed(self.shortcut_norm, self.shortcut(x))
        y = nnx.leaky_relu(y, self.slope)
        y = max_pool(y) if min(y.shape[1:3]) > 1 else y
        if self.deterministic or self.rate == 0:
            return y
        return drop_block(y, key, rate=self.rate, size=self.size)


def _normed(norm, x):
    return x if norm is None else norm(x)


class ResNet12(nnx.Module):
    """Blocks `block1`, ..., and, with classes, a linear `head`."""

    def __init__(self, shape, ways, widths, norm, slope, rate, size, pool, *, rngs):
        height, width, channels = shape
        self.depth = len(widths)
        self.pool = pool
        for i, filters in enumerate(widths, 1):
            # squares in the last two blocks, single pixels before
            b = size if i > len(widths) - 2 else 1
            block = Residual(channels, filters, norm, slope, rate, b, rngs=rngs)
            setattr(self, f"block{i}", block)
            channels = filters
            if min(height, width) > 1:  # a map of one row is not pooled
                height, width = height // 2, width // 2
        features = height * width * channels if pool == "flatten" else channels
        self.head = None if ways is None else nnx.Linear(features, ways, rngs=rngs)

    def __call__(self, x, rngs):
        for i in range(1, self.depth + 1):
            x = getattr(self, f"block{i}")(x, rngs())  # [n, h, w, filters]
        x = x.mean((1, 2)) if self.pool == "mean" else x.reshape(x.shape[0], -1)
        return x if self.head is None else self.head(x)


def resnet12(
    ways: int | None,
    *,
    widths: tuple[int, ...] = (64, 160, 320, 640),
    norm: NormName | None = "batch_running",
    drop_rate: float = 0.1,
    drop_block: int = 5,
    slope: float = 0.1,
    pool: Literal["mean", "flatten"] = "mean",
) -> Model:
    """ResNet-12: four residual blocks of three convolutions.

        y <- norm3(W3 * act(norm2(W2 * act(norm1(W1 * x))))) + norm4(V x)
        x <- drop(pool(act(y))),   act = leaky ReLU

    With widths w_i, w_0 the channels of the images, it has
    sum_i (9 w_{i-1} w_i + 18 w_i^2 + w_{i-1} w_i + 8 w_i) parameters: 12 424 320 for
    colour images. Dropping happens in training alone, and follows the key of `apply`:
    single pixels in the first blocks, squares in the last two.

    Args:
      ways: classes of the linear head, or `None` for features only.
      widths: channels of the blocks.
      norm: as in `conv4`; here running averages at inference, the practice of the
        papers that use this network.
      drop_rate: fraction to drop, in [0, 1).
      drop_block: side of the squares; 5 as published.
      slope: of the leaky ReLU below 0.
      pool: what becomes of the last maps: "mean" over space, `[n, widths[-1]]`, as most
        do; or "flatten", all of them, as MetaOptNet does: 16000 features for 84x84
        images, 2560 for 32x32.

    Returns:
      A `Model` for `[n, height, width, channels]` images.

    Raises:
      ValueError: for options out of range.

    References:
      Lee et al. 2019, arXiv:1904.03758, section 4.1.

    >>> model, images = resnet12(5, widths=(4, 4)), jnp.zeros((2, 8, 8, 3))
    >>> model.apply(model.init(jax.random.key(0), images), images)[0].shape
    (2, 5)
    """
    if not widths or min(widths) < 1:
        raise ValueError(f"widths: got {widths}, wants one or more integers >= 1")
    if not 0 <= drop_rate < 1:
        raise ValueError(f"drop_rate: got {drop_rate}, wants a number in [0, 1)")
    at_least(1, drop_block=drop_block)
    if ways is not None:
        at_least(1, ways=ways)
    one_of(("mean", "flatten"), pool=pool)
    check_norm(norm)

    def build(rngs, inputs):
        check_images(inputs)
        return ResNet12(
            inputs.shape[1:],
            ways,
            widths,
            norm,
            slope,
            drop_rate,
            drop_block,
            pool,
            rngs=rngs,
        )

    return from_nnx_for(build)
