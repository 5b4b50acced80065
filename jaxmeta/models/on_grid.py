"""A convolutional network over the points of a line."""

import jax.numpy as jnp
from flax import nnx

from jaxmeta.checks import at_least
from jaxmeta.core import Model
from jaxmeta.models.adapter import from_nnx_for


class OnGrid(nnx.Module):
    """`embed`, then `layer1`, ...: dilated convolutions, each added to its input."""

    def __init__(self, channels, filters, depth, taps, *, rngs):
        self.depth, self.taps = depth, taps
        self.embed = nnx.Linear(channels, filters, rngs=rngs)
        for i in range(1, depth + 1):
            setattr(self, f"layer{i}", nnx.Linear(taps * filters, filters, rngs=rngs))

    def __call__(self, x):
        x = self.embed(x)
        for i in range(1, self.depth + 1):
            seen = neighbours(nnx.relu(x), self.taps, 2 ** (i - 1))
            x = x + getattr(self, f"layer{i}")(seen)
        return nnx.relu(x)


def neighbours(x, taps: int, dilation: int):
    """`[g, c]` to `[g, taps c]`: each row with those around it, zeros beyond the ends.

    A product with them is a convolution; with a gradient for every task it stays one
    product, where a convolution would become a grouped one.

    >>> neighbours(jnp.arange(3.0)[:, None] + 1, 3, 1).tolist()
    [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 0.0]]
    """
    reach, n = taps // 2 * dilation, len(x)
    wide = jnp.pad(x, ((reach, reach), (0, 0)))
    return jnp.concatenate(
        [wide[k * dilation : k * dilation + n] for k in range(taps)], -1
    )


def on_grid(*, filters: int = 64, depth: int = 6, taps: int = 5) -> Model:
    """Convolutions over a grid `[g, c]`, layer l with holes of 2^(l - 1) points.

        h <- h + W_l * relu(h)

    What each point sees reaches `(taps - 1) / 2 (2^depth - 1)` points to either side.

    Args:
      filters: channels.
      depth: layers.
      taps: points that a convolution reads; odd.

    Returns:
      A `Model`, `[g, c] -> [g, filters]`.

    Raises:
      ValueError: for bad sizes.

    >>> import jax
    >>> model = on_grid(filters=4, depth=2)
    >>> meta = model.init(jax.random.key(0), jnp.zeros((9, 2)))
    >>> model.apply(meta, jnp.zeros((9, 2)))[0].shape
    (9, 4)
    """
    at_least(1, filters=filters, depth=depth, taps=taps)
    if taps % 2 == 0:
        raise ValueError(f"taps: got {taps}, wants an odd number")

    def build(rngs, inputs):
        return OnGrid(inputs.shape[-1], filters, depth, taps, rngs=rngs)

    return from_nnx_for(build)
