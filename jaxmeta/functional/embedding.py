"""What is done to feature vectors before they are compared."""

from typing import Literal

from jaxmeta.core import Array
from jaxmeta.functional.distances import unit
from jaxmeta.shapes import Float

Normalise = Literal["un", "l2", "cl2n"]


def check_normalise(kind: str | None) -> None:
    """Refuses an unknown name when the learner is built."""
    if kind not in ("un", "l2", "cl2n"):
        raise ValueError(f'normalise: got {kind!r}, wants "un", "l2" or "cl2n"')


def normalise(
    features: Float[Array, "n d"],
    kind: Normalise,
    *,
    mean: Float[Array, " d"] | None = None,
) -> Float[Array, "n d"]:
    """Puts feature vectors on a common footing.

        un:   f          l2:   f / ||f||          cl2n:   (f - mean) / ||f - mean||

    Args:
      features: `[n, d]`.
      kind: "un", "l2" or "cl2n".
      mean: `[d]`, for "cl2n": the mean feature of the base classes.

    Returns:
      `[n, d]`; a zero vector stays zero.

    Raises:
      ValueError: for an unknown `kind`, or "cl2n" without a mean.

    References:
      Wang et al. 2019, SimpleShot, arXiv:1911.04623, section 3.

    >>> import jax.numpy as jnp
    >>> normalise(jnp.array([[3.0, 4.0]]), "cl2n", mean=jnp.array([3.0, 2.0])).tolist()
    [[0.0, 1.0]]
    """
    check_normalise(kind)
    if kind == "un":
        return features
    if kind == "l2":
        return unit(features)
    if mean is None:
        raise ValueError('mean: got None, wants the base mean [d] for "cl2n"')
    return unit(features - mean)
