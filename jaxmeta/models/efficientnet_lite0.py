"""EfficientNet-Lite0: a network of photographs for small machines, 4.7 M parameters.

Tan and Le 2019, EfficientNet, https://arxiv.org/abs/1905.11946, table 1. The Lite form
(TensorFlow, 2020) has ReLU6 for swish and no squeeze-and-excitation.
"""

from typing import NamedTuple

from flax import nnx

from jaxmeta.checks import at_least
from jaxmeta.core import Model, Pictures
from jaxmeta.models import layers
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.layers import Conv, Depthwise, NormName, check_norm, norm_layer
from jaxmeta.models.pretrained import check_images, standardised


class Stage(NamedTuple):
    """Blocks alike, of which the first alone has the stride.

    Attributes:
      blocks: how many.
      size: of the depthwise kernel.
      stride: of the first block.
      expansion: inner channels, in units of the block's own.
      filters: channels that come out.
    """

    blocks: int
    size: int
    stride: int
    expansion: int
    filters: int


LITE0 = tuple(
    Stage(*s)
    for s in (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    )
)
"""The stages of the published network."""


class Block(nnx.Module):
    """An inverted residual: wide inside, with a depthwise convolution, narrow outside."""

    def __init__(self, channels, size, stride, expansion, filters, norm, rate, *, rngs):
        self.inner = channels * expansion
        bias = norm is None
        if expansion > 1:
            self.expand = Conv(channels, self.inner, size=1, bias=bias, rngs=rngs)
            self.expand_norm = _norm(norm, self.inner)
        else:
            self.expand = None
        self.depthwise = Depthwise(self.inner, size=size, stride=stride, rngs=rngs)
        self.depthwise_norm = _norm(norm, self.inner)
        self.project = Conv(self.inner, filters, size=1, bias=bias, rngs=rngs)
        self.project_norm = _norm(norm, filters)
        self.residual = stride == 1 and channels == filters
        self.rate = rate
        self.deterministic = False  # set by module.train() and module.eval()

    def __call__(self, x, rngs):
        y = x
        if self.expand is not None:
            y = nnx.relu6(_normed(self.expand_norm, self.expand(y)))
        y = nnx.relu6(_normed(self.depthwise_norm, self.depthwise(y)))
        y = _normed(self.project_norm, self.project(y))
        if not self.residual:
            return y
        if not self.deterministic and self.rate > 0:
            y = layers.drop_path(y, rngs(), rate=self.rate)
        return x + y


def _norm(name, features):
    # as published: averages of 0.99, and 0.001 beside the variance
    return norm_layer(name, features, momentum=0.99, epsilon=1e-3)


def _normed(norm, x):
    return x if norm is None else norm(x)


class EfficientNetLite(nnx.Module):
    """`stem`, `block1`, ..., `top` and, with classes, a linear `head`."""

    def __init__(
        self, channels, ways, stages, stem, top, norm, rates, pictures, *, rngs
    ):
        bias = norm is None
        self.pictures = pictures
        self.stem = Conv(channels, stem, stride=2, bias=bias, rngs=rngs)
        self.stem_norm = _norm(norm, stem)
        self.depth = sum(stage.blocks for stage in stages)
        channels, i = stem, 0
        for stage in stages:
            for first in (True, *[False] * (stage.blocks - 1)):
                rate = rates[1] * i / self.depth  # deeper blocks drop out more often
                stride, i = stage.stride if first else 1, i + 1
                block = Block(
                    channels, stage.size, stride, stage.expansion, stage.filters, norm,
                    rate, rngs=rngs,
                )  # fmt: skip
                setattr(self, f"block{i}", block)
                channels = stage.filters
        self.top = Conv(channels, top, size=1, bias=bias, rngs=rngs)
        self.top_norm = _norm(norm, top)
        self.dropout = nnx.Dropout(rates[0])
        self.head = None if ways is None else nnx.Linear(top, ways, rngs=rngs)

    def __call__(self, x, rngs):
        x = standardised(x, self.pictures)
        x = nnx.relu6(_normed(self.stem_norm, self.stem(x)))
        for i in range(1, self.depth + 1):
            x = getattr(self, f"block{i}")(x, rngs)  # [n, h, w, filters]
        x = nnx.relu6(_normed(self.top_norm, self.top(x))).mean((1, 2))
        if self.head is None:
            return x
        return self.head(self.dropout(x, rngs=rngs))


def efficientnet_lite0(
    ways: int | None,
    *,
    stages: tuple[Stage, ...] = LITE0,
    stem: int = 32,
    top: int = 1280,
    norm: NormName | None = "batch_running",
    dropout: float = 0.2,
    drop_path: float = 0.2,
    pictures: Pictures | None = None,
) -> Model:
    """EfficientNet-Lite0, for photographs of any size.

        y = relu6(norm(E x)),  y <- relu6(norm(D * y)),  x <- x + norm(P y)

    E and P are 1x1 convolutions, D a depthwise one of 3x3 or 5x5, with TensorFlow's
    padding: what is odd goes below and to the right. Maps end at 1/32 of the sides, and
    are averaged.

    Args:
      ways: classes of the linear head, or `None` for the 1280 features only.
      stages: the blocks; fewer and narrower make quick tests.
      stem: channels of the first convolution, which halves the picture.
      top: features.
      norm: as in `conv4`; trained weights want "batch_running".
      dropout: of features before the head, in training.
      drop_path: how often the last block is taken out, in training; earlier ones less.
      pictures: what weights that it is to be given were trained with: it then subtracts
        the mean and divides by the standard deviation itself; `None`: nothing is done.

    Returns:
      A `Model` for `[n, height, width, channels]` pictures, with parameters
      "stem/kernel", "block1/depthwise/kernel", ..., "head/bias".

    Raises:
      ValueError: for options out of range.

    References:
      Tan and Le 2019, arXiv:1905.11946, table 1; Sandler et al. 2018, MobileNetV2,
      arXiv:1801.04381, for the block.

    >>> import jax, jax.numpy as jnp
    >>> small = (Stage(1, 3, 2, 2, 4),)
    >>> model = efficientnet_lite0(5, stages=small, stem=4, top=8)
    >>> x = jnp.zeros((2, 16, 16, 3))
    >>> model.apply(model.init(jax.random.key(0), x), x)[0].shape
    (2, 5)
    """
    if not stages:
        raise ValueError("stages: got none, wants one or more")
    at_least(1, stem=stem, top=top)
    if ways is not None:
        at_least(1, ways=ways)
    for name, rate in (("dropout", dropout), ("drop_path", drop_path)):
        if not 0 <= rate < 1:
            raise ValueError(f"{name}: got {rate}, wants a number in [0, 1)")
    check_norm(norm)

    def build(rngs, inputs):
        check_images(inputs)
        return EfficientNetLite(
            inputs.shape[3], ways, stages, stem, top, norm, (dropout, drop_path),
            pictures, rngs=rngs,
        )  # fmt: skip

    return from_nnx_for(build)._replace(pictures=pictures)
