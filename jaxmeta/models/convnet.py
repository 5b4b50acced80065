"""A plain chain of convolutions, whose sizes are all said."""

from flax import nnx

from jaxmeta.checks import all_at_least, at_least, refusal
from jaxmeta.core import Model
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.layers import BatchNorm, Conv, NormName, check_norm, norm_layer
from jaxmeta.models.pretrained import check_images


class Block(nnx.Module):
    """Convolution, norm and ReLU."""

    def __init__(self, channels, filters, size, stride, norm, *, rngs):
        self.conv = Conv(
            channels, filters, size=size, stride=stride, bias=norm is None, rngs=rngs
        )
        self.norm = norm_layer(norm, filters)

    def __call__(self, x):
        if isinstance(self.norm, BatchNorm):
            return nnx.relu(self.norm.after(self.conv, x))
        x = self.conv(x)
        return nnx.relu(x if self.norm is None else self.norm(x))


class ConvNet(nnx.Module):
    """Blocks `block1`, `block2`, ... and, with classes, a linear `head`."""

    def __init__(self, shape, ways, widths, sizes, strides, norm, *, rngs):
        height, width, channels = shape
        self.depth = len(widths)
        for i, (filters, size, stride) in enumerate(
            zip(widths, sizes, strides, strict=True), 1
        ):
            block = Block(channels, filters, size, stride, norm, rngs=rngs)
            setattr(self, f"block{i}", block)
            channels = filters
            height, width = -(-height // stride), -(-width // stride)
        features = height * width * channels
        self.head = None if ways is None else nnx.Linear(features, ways, rngs=rngs)

    def __call__(self, x):
        for i in range(1, self.depth + 1):
            x = getattr(self, f"block{i}")(x)
        x = x.reshape(x.shape[0], -1)
        return x if self.head is None else self.head(x)


def convnet(
    ways: int | None,
    *,
    widths: tuple[int, ...] = (48, 64, 128, 128),
    sizes: tuple[int, ...] = (7, 3, 3, 3),
    strides: tuple[int, ...] = (4, 2, 2, 1),
    norm: NormName | None = "batch_running",
) -> Model:
    """A chain of convolutions, norms and ReLUs; the last maps are flattened.

        x <- relu(norm(W_i *_{s_i} x)),   i = 1 ... depth

    As it stands it is for drawings of 64x64: a large first kernel sees the direction of
    a stroke, and four by four places are left, so that features say where a stroke is.

    Args:
      ways: classes of the linear head, or `None` for features only.
      widths: channels of each block.
      sizes: the side of its kernel.
      strides: its stride; padding is `SAME`, so that a side of n becomes ceil(n / stride).
      norm: as of `conv4`.

    Returns:
      A `Model` for `[n, height, width, channels]` images, with parameters
      "block1/conv/kernel", ..., "head/bias".

    Raises:
      ValueError: for numbers below 1, or tuples of different lengths or of none.

    References:
      LeCun et al. 1998, Gradient-based learning applied to document recognition,
      https://doi.org/10.1109/5.726791.

    >>> model = convnet(None, widths=(2, 3), sizes=(7, 3), strides=(4, 2))
    >>> import jax, jax.numpy as jnp
    >>> images = jnp.zeros((2, 64, 64, 1))
    >>> model.apply(model.init(jax.random.key(0), images), images)[0].shape
    (2, 192)
    """
    given = {"widths": widths, "sizes": sizes, "strides": strides}
    all_at_least(1, **given)
    if ways is not None:
        at_least(1, ways=ways)
    for name, numbers in given.items():
        if len(numbers) != len(widths):
            raise refusal(
                name, numbers, f"{len(widths)} numbers, one a block as widths"
            )
    check_norm(norm)

    def build(rngs, inputs):
        check_images(inputs)
        return ConvNet(inputs.shape[1:], ways, widths, sizes, strides, norm, rngs=rngs)

    return from_nnx_for(build)
