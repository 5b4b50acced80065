"""Changes of where the parts of an image lie: turns, affine and elastic maps, bilinear.

An image is `[height, width, channels]`; each function keeps the shape. They are part of
`jaxmeta.functional.augment`.
"""

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Key, Scalar
from jaxmeta.shapes import Float


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
    degrees: float = 12.0,
    shear: float = 0.25,
    scale: float = 0.2,
    shift: float = 0.05,
    strength: float = 0.03,
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
