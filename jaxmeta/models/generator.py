"""A small image generator, for the players that must make examples up."""

from flax import nnx

from jaxmeta.core import Model
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.layers import Conv, NormName, check_norm, norm_layer


class Generator(nnx.Module):
    """A dense layer to a quarter of the size, and two doublings with convolutions."""

    def __init__(self, features, size, channels, filters, kernel, norm, *, rngs):
        first, second = filters
        self.shape = (size // 4, size // 4, first)
        area = (size // 4) ** 2
        self.dense = nnx.Linear(features, area * first, rngs=rngs)
        self.norm1 = norm_layer(norm, first)
        self.conv2 = Conv(first, second, size=kernel, bias=norm is None, rngs=rngs)
        self.norm2 = norm_layer(norm, second)
        self.head = Conv(second, channels, size=kernel, rngs=rngs)

    def __call__(self, x):
        x = self.dense(x).reshape(x.shape[0], *self.shape)
        x = _double(nnx.relu(x if self.norm1 is None else self.norm1(x)))
        x = self.conv2(x)
        x = _double(nnx.relu(x if self.norm2 is None else self.norm2(x)))
        return nnx.sigmoid(self.head(x))


def _double(x):
    """Every pixel twice in height and in width."""
    return x.repeat(2, 1).repeat(2, 2)


def generator(
    size: int = 28,
    channels: int = 1,
    *,
    filters: tuple[int, int] = (64, 32),
    kernel: int = 3,
    norm: NormName | None = "batch",
) -> Model:
    """Images in [0, 1] from vectors of noise, and of whatever they are conditioned on.

        x = sigmoid(W3 * up(relu(norm(W2 * up(relu(norm(W1 z)))))))

    Args:
      size: height and width, a multiple of 4.
      channels: 1 for grey, 3 for colour.
      filters: channels at a quarter and at half of the size; MetaGAN's public code has
        256 and 128 and one more layer, with kernels of 5.
      kernel: side of the convolutions.
      norm: as in `conv4`; "batch" is over the images that are made together.

    Returns:
      A `Model` for vectors `[m, d]`, giving `[m, size, size, channels]`.

    Raises:
      ValueError: for sizes that do not fit.

    References:
      Radford et al. 2016, arXiv:1511.06434, whose transposed convolutions are doublings
      here, as in Odena et al. 2016 (https://doi.org/10.23915/distill.00003).

    >>> import jax, jax.numpy as jnp
    >>> model, z = generator(8, filters=(4, 2)), jnp.zeros((3, 5))
    >>> model.apply(model.init(jax.random.key(0), z), z)[0].shape
    (3, 8, 8, 1)
    """
    if size < 4 or size % 4:
        raise ValueError(f"size: got {size}, wants a multiple of 4")
    if len(filters) != 2 or min(filters) < 1:
        raise ValueError(f"filters: got {filters}, wants two integers >= 1")
    check_norm(norm)

    def build(rngs, inputs):
        if len(inputs.shape) != 2:
            raise ValueError(f"inputs: wants vectors [m, d], got shape {inputs.shape}")
        return Generator(
            inputs.shape[1], size, channels, filters, kernel, norm, rngs=rngs
        )

    return from_nnx_for(build)
