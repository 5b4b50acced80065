"""The four-block convolutional network of the few-shot papers, in both its forms."""

from typing import Literal

import jax
from flax import nnx

from jaxmeta.core import Model
from jaxmeta.functional.convolution import max_pool
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.layers import Conv, NormName, norm_layer


class Block(nnx.Module):
    """3x3 convolution, norm, ReLU and, without a stride, 2x2 max-pooling."""

    def __init__(self, channels, filters, stride, norm, *, rngs):
        # a norm takes the mean away again, and with it any bias before it
        self.conv = Conv(channels, filters, stride=stride, bias=norm is None, rngs=rngs)
        self.norm = norm_layer(norm, filters)
        self.pool = stride == 1

    def __call__(self, x):
        x = self.conv(x)
        x = x if self.norm is None else self.norm(x)
        x = nnx.relu(x)
        return max_pool(x) if self.pool else x


class Conv4(nnx.Module):
    """Blocks `block1`, ..., `block4` and, with classes, a linear `head`."""

    def __init__(self, shape, ways, filters, stride, norm, blocks, *, rngs):
        height, width, channels = shape
        self.depth = blocks
        self.mean = stride == 2
        for i in range(1, blocks + 1):
            setattr(
                self, f"block{i}", Block(channels, filters, stride, norm, rngs=rngs)
            )
            channels = filters
            height, width = _halved(height, stride), _halved(width, stride)
        features = filters if self.mean else height * width * filters
        if features == 0:
            raise ValueError(
                f"inputs: got images of {shape[0]}x{shape[1]}, wants at least "
                f"{2**blocks} pixels a side to be halved {blocks} times"
            )
        self.head = None if ways is None else nnx.Linear(features, ways, rngs=rngs)

    def __call__(self, x):
        for i in range(1, self.depth + 1):
            x = getattr(self, f"block{i}")(x)  # [n, h, w, filters]
        x = x.mean((1, 2)) if self.mean else x.reshape(x.shape[0], -1)
        return x if self.head is None else self.head(x)


def _halved(size: int, stride: int) -> int:
    # a stride of 2 with SAME padding rounds up, 2x2 pooling drops the odd edge
    return -(-size // 2) if stride == 2 else size // 2


def conv4(
    ways: int | None,
    *,
    filters: int = 64,
    downsample: Literal["pool", "stride"] = "pool",
    norm: NormName | None = "batch",
    blocks: int = 4,
) -> Model:
    """Four blocks of 3x3 convolution, norm and ReLU, each halving the image.

        x <- pool(relu(norm(W * x)))        downsample="pool"   (Vinyals, Snell)
        x <- relu(norm(W *_2 x))            downsample="stride" (Finn on Omniglot)

    The pooled form flattens the last maps (64 features for 28x28 images, 1600 for
    84x84); the strided form averages them over space, as Finn et al. do.

    Args:
      ways: classes of the linear head, or `None` for features only.
      filters: channels of every block; 64, or 32 on miniImageNet.
      downsample: 2x2 max-pooling after, or a stride of 2 in, every convolution.
      norm: "batch": statistics of the batch at hand, in training and in inference, so
        that predictions are transductive; "batch_running": running averages at
        inference; "group"; "layer"; or `None`, which gives the convolutions a bias.
      blocks: 4; fewer makes quick tests.

    Returns:
      A `Model` for `[n, height, width, channels]` images, with parameters
      "block1/conv/kernel", ..., "head/bias".

    Raises:
      ValueError: for unknown options, or images too small to be halved so often.

    References:
      Vinyals et al. 2016, arXiv:1606.04080, section 4.1; Finn et al. 2017,
      arXiv:1703.03400, section 5.2.

    >>> model = conv4(5, filters=4)
    >>> images = jnp.zeros((2, 28, 28, 1))
    >>> meta = model.init(jax.random.key(0), images)
    >>> model.apply(meta, images)[0].shape
    (2, 5)
    """
    if downsample not in ("pool", "stride"):
        raise ValueError(f'downsample: got {downsample!r}, wants "pool" or "stride"')
    for name, value in (("filters", filters), ("blocks", blocks)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, wants an integer >= 1")
    norm_layer(norm, 8)  # refuse an unknown name now, not at the first trace
    stride = 2 if downsample == "stride" else 1

    def build(rngs, inputs):
        if len(inputs.shape) != 4:
            raise ValueError(
                "inputs: wants images [n, height, width, channels], "
                f"got shape {inputs.shape}"
            )
        shape = inputs.shape[1:]
        return Conv4(shape, ways, filters, stride, norm, blocks, rngs=rngs)

    return from_nnx_for(build)
