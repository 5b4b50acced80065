"""Second moments: principal directions, powers of a covariance, how far two are apart."""

import jax.numpy as jnp

from jaxmeta.core import Array, Scalar
from jaxmeta.functional.linear_algebra import svd
from jaxmeta.shapes import Float


def principal(
    x: Float[Array, "n d"],
) -> tuple[Float[Array, " d"], Float[Array, " k"], Float[Array, "d k"]]:
    """Mean, variances and directions of a sample, by singular values.

        X - mean = U S V^T,   cov(X) = V (S^2 / (n - 1)) V^T

    Args:
      x: `[n, d]`, n >= 2.

    Returns:
      The mean `[d]`, the variances `[k]` largest first, the directions `[d, k]`, with
      k = min(n, d). Outside of their span the variance is 0, and so is one that is no
      more than the rounding of the largest.

    >>> principal(jnp.array([[0.0, 1.0], [2.0, 1.0]]))[1].round(4).tolist()
    [2.0, 0.0]
    """
    x = jnp.asarray(x)
    mean = x.mean(0)
    _, s, directions = svd(x - mean)
    noise = (
        s[0] * max(x.shape) * jnp.finfo(x.dtype).eps
    )  # as a matrix's rank is counted
    s = jnp.where(s > noise, s, 0.0)
    return mean, jnp.square(s) / (len(x) - 1), directions.T


def power(variances: Array | float, lam: float | Array, exponent: float) -> Array:
    """`(v + lam)^exponent`, and 0 where v + lam is 0: a pseudo-inverse.

    >>> power(jnp.array([3.0, 0.0]), 1.0, -0.5).tolist()
    [0.5, 1.0]
    """
    v = jnp.asarray(variances) + lam
    return jnp.where(v > 0, jnp.where(v > 0, v, 1.0) ** exponent, 0.0)


def apply_spectrum(
    x: Float[Array, "n d"],
    directions: Float[Array, "d k"],
    inside: Float[Array, " k"],
    outside: Array | float,
) -> Float[Array, "n d"]:
    """Multiplies rows by a symmetric matrix given by its spectrum, at a cost of `n d k`.

        x (P diag(inside) P^T + outside (I - P P^T))

    Args:
      x: `[n, d]`.
      directions: P, `[d, k]`, orthonormal columns.
      inside: eigenvalues along P, `[k]`.
      outside: the eigenvalue of all else.

    Returns:
      `[n, d]`.

    >>> apply_spectrum(jnp.ones((1, 2)), jnp.eye(2)[:, :1], jnp.array([3.0]), 5.0).tolist()
    [[3.0, 5.0]]
    """
    z = x @ directions
    within = (z * inside) @ directions.T
    if directions.shape[0] == directions.shape[1]:
        return within  # nothing is outside but rounding, which `outside` may blow up
    return within + outside * (x - z @ directions.T)


def coral_distance(
    source: Float[Array, "n d"],
    target: Float[Array, "m d"],
    weights: Float[Array, " n"] | None = None,
) -> Scalar:
    """How far apart two covariances are; the loss of Deep CORAL.

        l = ||C_s - C_t||_F^2 / (4 d^2),   C with 1 / (n - 1)

    Args:
      source: `[n, d]`, n >= 2.
      target: `[m, d]`, m >= 2.
      weights: of the source, `[n]`, or `None` for all 1; their scale does not matter.
        C_s then has 1 / (sum_i w_i - sum_i w_i^2 / sum_i w_i).

    Returns:
      A scalar >= 0.

    Raises:
      ValueError: a domain with fewer than two examples, or features that differ.

    References:
      Sun and Saenko 2016, arXiv:1607.01719, eqs. 1 to 3.

    >>> x = jnp.array([[0.0], [2.0]])
    >>> float(coral_distance(x, 2 * x))  # (2 - 8)^2 / 4
    9.0
    """
    same_features(source, target)
    difference = _covariance(source, weights) - jnp.cov(target, rowvar=False)
    return jnp.sum(jnp.square(difference)) / (4 * source.shape[1] ** 2)


def _covariance(x: Array, weights: Array | None) -> Array:
    if weights is None:
        return jnp.cov(x, rowvar=False)
    return jnp.atleast_2d(jnp.cov(x, rowvar=False, aweights=weights))


def same_features(source: Array, target: Array) -> None:
    """Raises `ValueError` unless both are `[2 or more, d]` with one d."""
    if source.shape[1:] != target.shape[1:] or min(len(source), len(target)) < 2:
        raise ValueError(
            f"source, target: got {source.shape} and {target.shape}, wants 2 or more "
            "examples of the same features"
        )
