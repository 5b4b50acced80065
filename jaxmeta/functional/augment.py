"""Augmentation of images as functions of a key: traceable, one key for one image.

An image is `[height, width, channels]` in [0, 1]; `jax.vmap` over keys and images makes a
batch of them. Each function keeps the shape.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Key, Scalar
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


def rotate(
    key: Key, image: Float[Array, "h w c"], *, degrees: float = 15.0
) -> Float[Array, "h w c"]:
    """Turns by an angle uniform in [-degrees, degrees], bilinear; corners repeat the edge.

    Args:
      key: a random key.
      image: `[h, w, c]`.
      degrees: the largest angle, >= 0.

    Returns:
      `[h, w, c]`.

    >>> rotate(jax.random.key(0), jnp.ones((5, 5, 1))).min().tolist()
    1.0
    """
    angle = jnp.deg2rad(jax.random.uniform(key, minval=-degrees, maxval=degrees))
    return turn(image, angle)


def turn(image: Float[Array, "h w c"], angle: Scalar | float) -> Float[Array, "h w c"]:
    """Turns counter-clockwise about the centre, by an angle in radians.

    Args:
      image: `[h, w, c]`.
      angle: a scalar.

    Returns:
      `[h, w, c]`.

    >>> turn(jnp.arange(4.0).reshape(2, 2, 1), jnp.pi / 2)[..., 0].round().astype(int).tolist()
    [[1, 3], [0, 2]]
    """
    y, x = _centred(image)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    # y points down, so this is the inverse of a counter-clockwise turn
    return _read_at(image, cos * y + sin * x, cos * x - sin * y)


def affine(
    key: Key,
    image: Float[Array, "h w c"],
    *,
    degrees: float = 10.0,
    shear: float = 0.15,
    scale: float = 0.1,
    shift: float = 0.05,
) -> Float[Array, "h w c"]:
    """Turns, shears, stretches and moves an image at random, bilinear.

        source = A target + b,   A = turn(a) [[1, s], [0, 1]] diag(e^u, e^v)

    Args:
      key: a random key.
      image: `[h, w, c]`.
      degrees: `a` is uniform in [-degrees, degrees].
      shear: `s` is uniform in [-shear, shear].
      scale: so are `u` and `v`, in [-scale, scale].
      shift: and the two parts of `b`, in shares of a side.

    Returns:
      `[h, w, c]`; what comes from outside repeats the edge.

    >>> affine(jax.random.key(0), jnp.ones((5, 5, 1))).min().tolist()
    1.0
    """
    moved = _affinely(key, image, degrees, shear, scale, shift)
    return _read_at(image, *moved(*_centred(image)))


def elastic(
    key: Key, image: Float[Array, "h w c"], *, strength: float = 0.03, cells: int = 4
) -> Float[Array, "h w c"]:
    """Bends an image by a smooth random field of displacements, bilinear.

    The field is drawn at `cells + 1` knots a side, and is cubic between them. With the
    same key for all examples of a class, the class is another one.

    Args:
      key: a random key.
      image: `[h, w, c]`.
      strength: standard deviation of a displacement at a knot, in shares of a side.
      cells: cells of the field, a side.

    Returns:
      `[h, w, c]`; what comes from outside repeats the edge.

    References:
      Simard, Steinkraus, Platt 2003, https://doi.org/10.1109/ICDAR.2003.1227801.

    >>> elastic(jax.random.key(0), jnp.ones((8, 8, 1))).shape
    (8, 8, 1)
    """
    down, right = _field(key, image, strength, cells)
    y, x = _centred(image)
    return _read_at(image, y + down, x + right)


def warp(
    key: Key,
    image: Float[Array, "h w c"],
    *,
    degrees: float = 8.0,
    shear: float = 0.2,
    scale: float = 0.15,
    shift: float = 0.03,
    strength: float = 0.02,
    cells: int = 4,
) -> Float[Array, "h w c"]:
    """An affine and an elastic change, read from the image once: as another hand draws.

    What `elastic` makes of what `affine` has made, without the second blur. The defaults
    are for single characters.

    Args:
      key: a random key.
      image: `[h, w, c]`.
      degrees: as of `affine`, and so are the next three.
      shear: of `affine`.
      scale: of `affine`.
      shift: of `affine`.
      strength: of `elastic`.
      cells: of `elastic`.

    Returns:
      `[h, w, c]`; what comes from outside repeats the edge.

    >>> warp(jax.random.key(0), jnp.ones((8, 8, 1))).shape
    (8, 8, 1)
    """
    whole, local = jax.random.split(key)
    down, right = _field(local, image, strength, cells)
    y, x = _centred(image)
    moved = _affinely(whole, image, degrees, shear, scale, shift)
    return _read_at(image, *moved(y + down, x + right))


def _affinely(key, image, degrees, shear, scale, shift):
    """From places in the new image to places in the old one, from the centre."""
    h, w = image.shape[:2]
    a, s, u, v, down, right = jax.random.uniform(key, (6,), minval=-1.0)
    cos, sin = (f(jnp.deg2rad(degrees) * a) for f in (jnp.cos, jnp.sin))

    def moved(y: Array, x: Array) -> tuple[Array, Array]:
        y, x = jnp.exp(scale * u) * y, jnp.exp(scale * v) * x
        y = y + shear * s * x
        y, x = cos * y + sin * x, cos * x - sin * y
        return y + shift * h * down, x + shift * w * right

    return moved


def _field(key, image, strength, cells) -> tuple[Array, Array]:
    """Smooth displacements in pixels, down and right: `[h, w]` each."""
    h, w = image.shape[:2]
    knots = strength * jax.random.normal(key, (2, cells + 1, cells + 1), image.dtype)
    field = jax.image.resize(knots, (2, h, w), "cubic")
    return h * field[0], w * field[1]


def _centred(image: Array) -> tuple[Array, Array]:
    """Rows and columns of the pixels, from the centre: `[h, w]` each."""
    h, w = image.shape[:2]
    y, x = jnp.meshgrid(
        jnp.arange(h) - (h - 1) / 2, jnp.arange(w) - (w - 1) / 2, indexing="ij"
    )
    return y, x


def _read_at(image: Array, y: Array, x: Array) -> Array:
    """The image at places `[h, w]` from its centre, bilinear."""
    h, w = image.shape[:2]
    where = [y + (h - 1) / 2, x + (w - 1) / 2]

    def one(channel):
        return jax.scipy.ndimage.map_coordinates(channel, where, 1, mode="nearest")

    return jax.vmap(one, -1, -1)(image).astype(image.dtype)


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
