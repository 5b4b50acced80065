"""Learned positions of one grid of patches, brought to another: bicubic interpolation."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.core import Array


def cubic(t: np.ndarray, a: float) -> np.ndarray:
    """The cubic kernel of Keys 1981, eq. (4), for a free parameter a.

    >>> cubic(np.array([0.0, 1.0, 2.0]), -0.5).tolist()
    [1.0, 0.0, 0.0]
    """
    t = np.abs(t)
    near = (a + 2) * t**3 - (a + 3) * t**2 + 1
    far = a * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def weights(old: int, new: int, *, smooth: bool) -> np.ndarray:
    """What each of `new` places takes from each of `old` ones: `[new, old]`.

    Rows sum to 1. Pixels are squares, and ends meet ends.

    Args:
      old: places that there are.
      new: places that are wanted.
      smooth: averages over what a new place covers where there are fewer of them than
        old ones, and a = -1/2; else four old places count whatever the ratio, those
        beyond the edge are the one at the edge, and a = -3/4. PyTorch has both.

    >>> weights(2, 2, smooth=True).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    at = (np.arange(new) + 0.5) * old / new - 0.5
    if smooth:
        wide = max(old / new, 1.0)
        w = cubic((np.arange(old) - at[:, None]) / wide, -0.5)
        return w / w.sum(1, keepdims=True)
    first = np.floor(at).astype(int) - 1
    w = np.zeros((new, old))
    for tap in range(4):
        place = first + tap
        np.add.at(
            w, (np.arange(new), np.clip(place, 0, old - 1)), cubic(at - place, -0.75)
        )
    return w


def resized(position: Array, size: tuple[int, int], *, smooth: bool) -> Array:
    """Positions of a square grid at the places of another one.

        q_hw = sum_ij A_hi B_wj p_ij

    Args:
      position: `[side * side, d]`, row by row.
      size: (rows, columns) of the new grid.
      smooth: as of `weights`.

    Returns:
      `[rows * columns, d]`.

    References:
      Keys 1981, Cubic convolution interpolation, IEEE TASSP 29; Dosovitskiy et al. 2021,
      arXiv:2010.11929, section 3.2.

    >>> resized(jnp.ones((4, 1)), (1, 3), smooth=False).ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    side = math.isqrt(position.shape[0])
    if size == (side, side):
        return position
    rows, columns = (
        jnp.asarray(weights(side, n, smooth=smooth), position.dtype) for n in size
    )
    grid = position.reshape(side, side, -1)
    new = jnp.einsum(
        "hi,wj,ijd->hwd", rows, columns, grid, precision=jax.lax.Precision.HIGHEST
    )
    return new.reshape(-1, position.shape[1])
