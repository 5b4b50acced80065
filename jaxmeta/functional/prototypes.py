"""Class means."""

import jax.numpy as jnp

from jaxmeta.core import Array


def prototypes(features: Array, targets: Array) -> Array:
    """The mean feature vector of every class.

        c_k = sum_i t_ik f_i / sum_i t_ik

    Args:
      features: `[n, d]`.
      targets: one-hot `[n, c]`; rows of zeros are padding.

    Returns:
      `[c, d]`; zeros for a class without examples.

    References:
      Snell, Swersky, Zemel 2017, arXiv:1703.05175, eq. (1).

    >>> prototypes(jnp.array([[1.0], [3.0], [9.0]]), jnp.array([[1.0], [1.0], [0.0]]))
    Array([[2.]], dtype=float32)
    """
    count = targets.sum(0)[:, None]
    return targets.T @ features / jnp.where(count > 0, count, 1.0)
