"""The four-block convolutional network of the few-shot papers, in both its forms."""

from typing import Literal

from flax import nnx

from jaxmeta.checks import at_least, one_of
from jaxmeta.convolution import max_pool
from jaxmeta.core import Model
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.layers import BatchNorm, Conv, NormName, check_norm, norm_layer
from jaxmeta.models.pretrained import check_images


class Block(nnx.Module):
    """3x3 convolution, norm, ReLU and, if asked for, 2x2 max-pooling."""

    def __init__(self, channels, filters, stride, norm, pool, valid, *, rngs):
        # a norm takes the mean away again, and with it any bias before it
        self.conv = Conv(channels, filters, stride=stride, bias=norm is None, rngs=rngs)
        self.norm = norm_layer(norm, filters)
        self.pool = pool
        self.valid = valid

    def __call__(self, x):
        pool = max_pool if self.pool else None
        if isinstance(self.norm, BatchNorm) and not self.valid:
            # a maximum and a ReLU commute: pooled first, there is less to do
            return nnx.relu(self.norm.after(self.conv, x, pool))
        x = self.conv(x)
        if self.valid:  # a convolution without padding is the inside of one with it
            x = x[:, 1:-1, 1:-1]
        x = x if self.norm is None else self.norm(x)
        x = nnx.relu(x)
        return x if pool is None else pool(x)


class Conv4(nnx.Module):
    """Blocks `block1`, ..., `block4` and, with classes, a linear `head`."""

    def __init__(
        self, shape, ways, filters, stride, norm, blocks, flatten, pools, valid, *, rngs
    ):
        height, width, channels = shape
        self.depth = blocks
        self.mean = stride == 2
        self.flatten = flatten
        for i in range(1, blocks + 1):
            pool, inside = stride == 1 and i <= pools, i <= valid
            block = Block(channels, filters, stride, norm, pool, inside, rngs=rngs)
            setattr(self, f"block{i}", block)
            channels = filters
            height, width = (_size(n, stride, pool, inside) for n in (height, width))
        features = filters if self.mean else height * width * filters
        if min(height, width) < 1:
            raise ValueError(
                f"inputs: got images of {shape[0]}x{shape[1]}, wants at least "
                f"{2**blocks} pixels a side to be halved {blocks} times"
            )
        self.head = None if ways is None else nnx.Linear(features, ways, rngs=rngs)

    def __call__(self, x):
        for i in range(1, self.depth + 1):
            x = getattr(self, f"block{i}")(x)  # [n, h, w, filters]
        if not self.flatten:
            return x
        x = x.mean((1, 2)) if self.mean else x.reshape(x.shape[0], -1)
        return x if self.head is None else self.head(x)


def _size(size: int, stride: int, pool: bool, valid: bool) -> int:
    # a stride of 2 with SAME padding rounds up, 2x2 pooling drops the odd edge
    size = max(-(-size // stride) - 2 * valid, 0)
    return size // 2 if pool else size


def conv4(
    ways: int | None,
    *,
    filters: int = 64,
    downsample: Literal["pool", "stride"] = "pool",
    norm: NormName | None = "batch",
    blocks: int = 4,
    flatten: bool = True,
    pools: int | None = None,
    valid: int = 0,
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
        inference; "batch_renorm": running averages in training, too, for episodes of
        few classes; "group"; "layer"; or `None`, which gives the convolutions a bias.
      blocks: 4; fewer makes quick tests.
      flatten: `False` gives the last maps `[n, h, w, filters]`; needs `ways=None`.
      pools: only the first so many blocks pool; all by default.
      valid: the first so many convolutions have no padding. The encoder of relation
        networks is `flatten=False, pools=2, valid=2`: 5x5 maps for 28x28 images.

    Returns:
      A `Model` for `[n, height, width, channels]` images, with parameters
      "block1/conv/kernel", ..., "head/bias".

    Raises:
      ValueError: for unknown options, or images too small to be halved so often.

    References:
      Vinyals et al. 2016, arXiv:1606.04080, section 4.1; Finn et al. 2017,
      arXiv:1703.03400, section 5.2.

    >>> model = conv4(5, filters=4)
    >>> import jax, jax.numpy as jnp
    >>> images = jnp.zeros((2, 28, 28, 1))
    >>> meta = model.init(jax.random.key(0), images)
    >>> model.apply(meta, images)[0].shape
    (2, 5)
    """
    one_of(("pool", "stride"), downsample=downsample)
    at_least(1, filters=filters, blocks=blocks)
    if ways is not None:
        at_least(1, ways=ways)
    if not flatten and ways is not None:
        raise ValueError(
            f"flatten: got False with ways={ways}, wants ways=None: maps have no head"
        )
    if valid and downsample == "stride":
        raise ValueError(f'valid: got {valid}, wants 0 with downsample="stride"')
    check_norm(norm)  # refuse an unknown name now, not at the first trace
    stride = 2 if downsample == "stride" else 1

    def build(rngs, inputs):
        check_images(inputs)
        shape = inputs.shape[1:]
        most = blocks if pools is None else pools
        return Conv4(
            shape, ways, filters, stride, norm, blocks, flatten, most, valid, rngs=rngs
        )

    return from_nnx_for(build)
