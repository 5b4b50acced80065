"""In which coordinates a bounded hyper-parameter is learned."""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from jaxmeta.checks import positive, within
from jaxmeta.core import Array

Space = Literal["raw", "exp", "sigmoid"]


def enter(name: str, value: float, space: Space) -> float:
    """The coordinate of a hyper-parameter: x with `leave(x) = value`.

    Args:
      name: what the value is called, for the error.
      value: the hyper-parameter.
      space: "raw": x = value; "exp": value = e^x > 0; "sigmoid": value in (0, 1).

    Returns:
      x.

    Raises:
      ValueError: for an unknown space, or a value that is not in it.

    >>> enter("rate", 1.0, "exp")
    0.0
    """
    if space == "raw":
        return value
    if space == "exp":
        positive(**{name: value})
        return math.log(value)
    if space == "sigmoid":
        within("(0, 1)", **{name: value})
        return math.log(value / (1 - value))
    raise ValueError(f'space: got {space!r}, wants "raw", "exp" or "sigmoid"')


def leave(x: Array, space: Space) -> Array:
    """The hyper-parameter at a coordinate.

    >>> float(leave(jnp.array(0.0), "sigmoid"))
    0.5
    """
    return {"raw": lambda x: x, "exp": jnp.exp, "sigmoid": jax.nn.sigmoid}[space](x)
