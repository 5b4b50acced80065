"""Augmentation of images as functions of a key: traceable, one key for one image.

An image is `[height, width, channels]` in [0, 1]; `jax.vmap` over keys and images makes a
batch of them. Each function keeps the shape.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Key
from jaxmeta.functional.warps import affine as affine
from jaxmeta.functional.warps import elastic as elastic
from jaxmeta.functional.warps import rotate as rotate
from jaxmeta.functional.warps import turn as turn
from jaxmeta.functional.warps import warp as warp
from jaxmeta.shapes import Float

Augment = Callable[[Key, Array], Array]


def flip(
    key: Key, image: Float[Array, "h w c"], *, probability: float = 0.5
) -> Float[Array, "h w c"]:
    """Mirrors left and right, with a probability.

    Args:
      key: a random key.
      image: `[h, w, c]`.
      probability: of the mirror image.

    Returns:
      `[h, w, c]`.

    >>> flip(jax.random.key(0), jnp.arange(3.0).reshape(1, 3, 1), probability=1.0).ravel()
    Array([2., 1., 0.], dtype=float32)
    """
    return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)


def crop(
    key: Key, image: Float[Array, "h w c"], *, padding: int = 4
) -> Float[Array, "h w c"]:
    """Moves an image by up to `padding` pixels a side, mirrored at its edges.

    The padded image `[h + 2p, w + 2p, c]` is cropped to `[h, w, c]` at a corner that is
    uniform over all `(2p + 1)^2`.

    Args:
      key: a random key.
      image: `[h, w, c]`.
      padding: p >= 0, less than the sides of the image.

    Returns:
      `[h, w, c]`.

    Raises:
      ValueError: for a padding that does not fit.

    >>> crop(jax.random.key(0), jnp.zeros((8, 8, 3))).shape
    (8, 8, 3)
    """
    if not 0 <= padding < min(image.shape[:2]):
        raise ValueError(
            f"padding: got {padding}, wants 0 to {min(image.shape[:2]) - 1}, less than "
            "the sides"
        )
    sides = ((padding, padding), (padding, padding), (0, 0))
    padded = jnp.pad(image, sides, mode="reflect")
    corner = jax.random.randint(key, (2,), 0, 2 * padding + 1)
    return jax.lax.dynamic_slice(padded, (*corner, 0), image.shape)


def quarter_turn(key: Key, image: Float[Array, "h h c"]) -> Float[Array, "h h c"]:
    """Turns a square image by 0, 90, 180 or 270 degrees, each equally likely.

    Args:
      key: a random key.
      image: `[h, h, c]`.

    Returns:
      `[h, h, c]`.

    Raises:
      ValueError: for an image that is not square.

    >>> quarter_turn(jax.random.key(0), jnp.ones((4, 4, 1))).shape
    (4, 4, 1)
    """
    if image.shape[0] != image.shape[1]:
        raise ValueError(f"image: got {image.shape}, wants a square [h, h, c]")
    turns = jnp.stack([jnp.rot90(image, k) for k in range(4)])
    return turns[jax.random.randint(key, (), 0, 4)]


def colour_jitter(
    key: Key,
    image: Float[Array, "h w c"],
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.4,
) -> Float[Array, "h w c"]:
    """Changes brightness, contrast and saturation by random factors, in this order.

        x <- b x,   x <- m + k (x - m),   x <- g + s (x - g),   clipped to [0, 1]

    with m the mean grey of the image, g the grey of the pixel (0.299 R + 0.587 G +
    0.114 B), and each factor uniform in [max(0, 1 - v), 1 + v]. A grey image (one
    channel) has no saturation.

    Args:
      key: a random key.
      image: `[h, w, 1]` or `[h, w, 3]` in [0, 1].
      brightness: v of b, >= 0.
      contrast: v of k, >= 0.
      saturation: v of s, >= 0.

    Returns:
      `[h, w, c]` in [0, 1].

    Raises:
      ValueError: for another number of channels.

    >>> colour_jitter(jax.random.key(0), jnp.ones((2, 2, 3))).max().tolist() <= 1
    True
    """
    if image.shape[-1] not in (1, 3):
        raise ValueError(f"image: got {image.shape}, wants 1 or 3 channels")
    low = jnp.maximum(0.0, 1 - jnp.array([brightness, contrast, saturation]))
    high = 1 + jnp.array([brightness, contrast, saturation])
    b, k, s = jax.random.uniform(key, (3,), image.dtype, low, high)
    image = jnp.clip(b * image, 0, 1)
    mean = _grey(image).mean()
    image = jnp.clip(mean + k * (image - mean), 0, 1)
    grey = _grey(image)
    return jnp.clip(grey + s * (image - grey), 0, 1)


def chain(*augments: Augment) -> Augment:
    """One augmentation after the other, each with a key of its own.

    Args:
      *augments: functions `(key, image) -> image`.

    Returns:
      A function `(key, image) -> image`.

    >>> both = chain(flip, crop)
    >>> both(jax.random.key(0), jnp.zeros((8, 8, 3))).shape
    (8, 8, 3)
    """

    def augment(key: Key, image: Array) -> Array:
        for i, step in enumerate(augments):
            image = step(jax.random.fold_in(key, i), image)
        return image

    return augment


def _grey(image: Array) -> Array:
    """Luma `[h, w, 1]`."""
    if image.shape[-1] == 1:
        return image
    return image @ jnp.array([[0.299], [0.587], [0.114]], image.dtype)
