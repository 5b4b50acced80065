"""ResNet-18, -34 and -50, the networks of ImageNet.

He, Zhang, Ren, Sun 2016, Deep Residual Learning, https://arxiv.org/abs/1512.03385.
"""

from typing import Literal

from flax import nnx

from jaxmeta.checks import all_at_least, at_least, one_of
from jaxmeta.convolution import max_pool_3x3
from jaxmeta.core import Model, Pictures
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.layers import Conv, NormName, check_norm, norm_layer
from jaxmeta.models.pretrained import check_images, standardised

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
"""How many blocks each of the four stages has; table 1."""


class Block(nnx.Module):
    """Two 3x3 convolutions, or a 3x3 one between two of 1x1, beside a shortcut."""

    def __init__(self, channels, width, stride, bottleneck, norm, *, rngs):
        # the 3x3 convolution has the stride, as in every network that is passed around
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        widths = (width, width, 4 * width) if bottleneck else (width, width)
        strided = sizes.index(3)
        bias = norm is None
        self.convs = len(sizes)
        inputs = channels
        for i, (size, filters) in enumerate(zip(sizes, widths, strict=True)):
            conv = Conv(
                inputs, filters, size=size, stride=stride if i == strided else 1,
                bias=bias, symmetric=True, rngs=rngs,
            )  # fmt: skip
            setattr(self, f"conv{i + 1}", conv)
            setattr(self, f"norm{i + 1}", norm_layer(norm, filters))
            inputs = filters
        changed = stride > 1 or channels != inputs
        self.shortcut = (
            Conv(
                channels, inputs, size=1, stride=stride, bias=bias, symmetric=True,
                rngs=rngs,
            )
            if changed
            else None
        )  # fmt: skip
        self.shortcut_norm = norm_layer(norm, inputs) if changed else None

    def __call__(self, x):
        y = x
        for i in range(1, self.convs + 1):
            y = _normed(getattr(self, f"norm{i}"), getattr(self, f"conv{i}")(y))
            y = y if i == self.convs else nnx.relu(y)
        if self.shortcut is not None:
            x = _normed(self.shortcut_norm, self.shortcut(x))
        return nnx.relu(x + y)


def _normed(norm, x):
    return x if norm is None else norm(x)


class Stage(nnx.Module):
    """Blocks `block1`, ... of one size of map; the first halves it."""

    def __init__(self, channels, width, count, stride, bottleneck, norm, *, rngs):
        self.count = count
        for i in range(1, count + 1):
            block = Block(channels, width, stride, bottleneck, norm, rngs=rngs)
            setattr(self, f"block{i}", block)
            channels, stride = width * (4 if bottleneck else 1), 1

    def __call__(self, x):
        for i in range(1, self.count + 1):
            x = getattr(self, f"block{i}")(x)
        return x


class ResNet(nnx.Module):
    """`stem`, `stage1`, ... and, with classes, a linear `head`."""

    def __init__(
        self, channels, ways, bottleneck, blocks, width, small, norm, pictures, *, rngs
    ):
        self.pictures = pictures
        self.small = small
        size, stride = (3, 1) if small else (7, 2)
        self.stem = Conv(
            channels, width, size=size, stride=stride, bias=norm is None,
            symmetric=True, rngs=rngs,
        )  # fmt: skip
        self.stem_norm = norm_layer(norm, width)
        self.stages = len(blocks)
        channels = width
        for i, count in enumerate(blocks):
            stage = Stage(
                channels, width * 2**i, count, 1 if i == 0 else 2, bottleneck, norm,
                rngs=rngs,
            )  # fmt: skip
            setattr(self, f"stage{i + 1}", stage)
            channels = width * 2**i * (4 if bottleneck else 1)
        self.head = None if ways is None else nnx.Linear(channels, ways, rngs=rngs)

    def __call__(self, x):
        x = standardised(x, self.pictures)
        x = nnx.relu(_normed(self.stem_norm, self.stem(x)))
        x = x if self.small else max_pool_3x3(x)
        for i in range(1, self.stages + 1):
            x = getattr(self, f"stage{i}")(x)  # [n, h, w, filters]
        x = x.mean((1, 2))
        return x if self.head is None else self.head(x)


def resnet(
    depth: Literal[18, 34, 50],
    ways: int | None,
    *,
    stem: Literal["imagenet", "small"] = "imagenet",
    width: int = 64,
    blocks: tuple[int, ...] | None = None,
    norm: NormName | None = "batch_running",
    pictures: Pictures | None = None,
) -> Model:
    """ResNet-18, -34 or -50, for pictures of any size.

        x <- relu(norm(W2 * relu(norm(W1 * x))) + x)                        18, 34
        x <- relu(norm(W3 * relu(norm(W2 * relu(norm(W1 * x))))) + x)       50

    Where maps are halved or widened, the shortcut is a 1x1 convolution with a norm. In
    the 50 the 3x3 convolution W2 has the stride, as in the weights that are passed
    around, not the first one, as first published.

    Args:
      depth: 18, 34 or 50 layers.
      ways: classes of the linear head, or `None` for the 512 (or 2048) features only.
      stem: "imagenet": a 7x7 convolution of stride 2 and 3x3 max-pooling, which leaves a
        quarter of a side; "small": a 3x3 convolution, for pictures of 32x32 or 84x84.
      width: channels of the first stage; they double from each to the next.
      blocks: of each stage; by default those of the depth.
      norm: as in `conv4`; trained weights want "batch_running".
      pictures: as of `efficientnet_lite0`.

    Returns:
      A `Model` for `[n, height, width, channels]` pictures, with parameters
      "stem/kernel", "stage1/block1/conv1/kernel", ..., "head/bias".

    Raises:
      ValueError: for options out of range.

    References:
      He et al. 2016, arXiv:1512.03385, table 1; the stem for small pictures: section 4.2.

    >>> import jax, jax.numpy as jnp
    >>> model, x = resnet(18, 5, width=4, blocks=(1, 1), stem="small"), jnp.ones((2, 8, 8, 3))
    >>> model.apply(model.init(jax.random.key(0), x), x)[0].shape
    (2, 5)
    """
    one_of(tuple(BLOCKS), depth=depth)
    one_of(("imagenet", "small"), stem=stem)
    at_least(1, width=width)
    if ways is not None:
        at_least(1, ways=ways)
    blocks = BLOCKS[depth] if blocks is None else blocks
    all_at_least(1, blocks=blocks)
    check_norm(norm)

    def build(rngs, inputs):
        check_images(inputs)
        return ResNet(
            inputs.shape[3], ways, depth == 50, blocks, width, stem == "small", norm,
            pictures, rngs=rngs,
        )  # fmt: skip

    return from_nnx_for(build)._replace(pictures=pictures)
