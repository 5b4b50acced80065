"""Class means."""

import jax.numpy as jnp

from jaxmeta.core import Array
from jaxmeta.shapes import Float


def prototypes(
    features: Float[Array, "n d"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, "c d"]:
    """The mean feature vector of every class.

        c_k = sum_i w_i t_ik f_i / sum_i w_i t_ik

    Args:
      features: `[n, d]`.
      targets: one-hot `[n, c]`.
      weights: w, `[n]`, or `None` for all 1.

    Returns:
      `[c, d]`; zeros for a class without examples.

    References:
      Snell, Swersky, Zemel 2017, arXiv:1703.05175, eq. (1).

    >>> prototypes(jnp.array([[1.0], [3.0]]), jnp.eye(2)[:, :1] + jnp.eye(2)[:, 1:])
    Array([[2.]], dtype=float32)
    """
    if weights is not None:
        targets = targets * weights[:, None]
    count = targets.sum(0)[:, None]
    return targets.T @ features / jnp.where(count > 0, count, 1.0)
