"""Independent normal distributions: what a regressor with uncertainty predicts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from jaxmeta.core import Array, Key, Scalar
from jaxmeta.functional.rows import clean_rows
from jaxmeta.losses import weighted_mean
from jaxmeta.shapes import Float


class Gaussian(NamedTuple):
    """A predictive distribution, normal and independent in every entry.

    Attributes:
      mean: `[n, c]`.
      std: `[n, c]`, positive, in units of the targets.
    """

    mean: Array
    std: Array


def log_prob(
    prediction: Gaussian, targets: Float[Array, "... n c"]
) -> Float[Array, "... n c"]:
    """The log-density of every target.

        log p = -1/2 ((t - m) / s)^2 - log s - 1/2 log 2 pi

    Args:
      prediction: mean and standard deviation `[n, c]`.
      targets: real values `[n, c]`.

    Returns:
      `[n, c]`, in nats.

    Raises:
      ValueError: if the shapes differ.

    >>> standard = Gaussian(jnp.zeros((1, 1)), jnp.ones((1, 1)))
    >>> round(log_prob(standard, jnp.zeros((1, 1))).item(), 4)  # -log sqrt(2 pi)
    -0.9189
    """
    mean, std = prediction
    if not mean.shape == std.shape == targets.shape:
        raise ValueError(
            f"prediction: got mean {mean.shape} and std {std.shape}, "
            f"wants the shape of targets {targets.shape}"
        )
    z = (targets - mean) / std
    return -0.5 * jnp.square(z) - jnp.log(std) - 0.5 * jnp.log(2 * jnp.pi)


def gaussian_nll(
    prediction: Gaussian,
    targets: Float[Array, "... n c"],
    weights: Float[Array, "... n"] | None = None,
) -> Scalar:
    """Mean negative log-likelihood over examples and dimensions, in nats.

        -1/c sum_i w_i sum_j log p_ij / sum_i w_i

    Args:
      prediction: mean and standard deviation `[n, c]`.
      targets: real values `[n, c]`.
      weights: w, `[n]`, or `None` for all 1. What a row of weight 0 holds does not
        matter.

    Returns:
      A scalar.

    Raises:
      ValueError: if the shapes differ.

    >>> standard = Gaussian(jnp.zeros((1, 1)), jnp.ones((1, 1)))
    >>> round(gaussian_nll(standard, jnp.zeros((1, 1))).item(), 4)
    0.9189
    """
    prediction, targets = counted(prediction, targets, weights)
    return -weighted_mean(row_mean(log_prob(prediction, targets)), weights)


def counted(
    prediction: Gaussian, targets: Array, weights: Array | None
) -> tuple[Gaussian, Array]:
    """Both with a copy of a real row where the weight is 0, which has no gradient."""
    return clean_rows((prediction, targets), weights)


def row_mean(x: Array) -> Array:
    """`[n, ...]` to `[n]`."""
    return x.reshape(x.shape[0], -1).mean(-1)


def entropy(prediction: Gaussian) -> Float[Array, "*shape"]:
    """Differential entropy of every entry, `log s + 1/2 log(2 pi e)`, in nats.

    >>> entropy(Gaussian(jnp.zeros(1), jnp.ones(1))).round(4).tolist()
    [1.4189000129699707]
    """
    return jnp.log(prediction.std) + 0.5 * jnp.log(2 * jnp.pi * jnp.e)


def kl_divergence(q: Gaussian, p: Gaussian) -> Float[Array, "*shape"]:
    """How far `q` is from `p`, entry by entry; 0 if and only if they are equal.

        KL(q || p) = log(s_p / s_q) + (s_q^2 + (m_q - m_p)^2) / (2 s_p^2) - 1/2

    Args:
      q: the distribution that the expectation is over.
      p: the one it is compared with, of the same shape.

    Returns:
      The shape of the means, >= 0, in nats.

    >>> standard, wide = Gaussian(jnp.zeros(1), jnp.ones(1)), Gaussian(jnp.ones(1), jnp.ones(1))
    >>> kl_divergence(standard, wide).tolist()
    [0.5]
    """
    ratio = q.std / p.std
    gap = (q.mean - p.mean) / p.std
    return -jnp.log(ratio) + 0.5 * (jnp.square(ratio) + jnp.square(gap) - 1)


def sample(
    prediction: Gaussian, key: Key, samples: int
) -> Float[Array, " samples *shape"]:
    """Draws `[samples, n, c]` from the distribution.

    >>> standard = Gaussian(jnp.zeros((3, 1)), jnp.ones((3, 1)))
    >>> sample(standard, jax.random.key(0), 5).shape
    (5, 3, 1)
    """
    mean, std = prediction
    noise = jax.random.normal(key, (samples, *mean.shape), mean.dtype)
    return mean + std * noise


def coverage(
    prediction: Gaussian,
    targets: Float[Array, "... n c"],
    weights: Float[Array, "... n"] | None = None,
    *,
    level: float = 0.9,
) -> Scalar:
    """Fraction of the targets inside the central band of probability `level`.

        |t - m| <= s Phi^-1((1 + level) / 2)

    A calibrated regressor covers `level` of them.

    Args:
      prediction: mean and standard deviation `[n, c]`.
      targets: real values `[n, c]`.
      weights: `[n]`, or `None` for all 1.
      level: in (0, 1).

    Returns:
      A scalar in [0, 1].

    Raises:
      ValueError: if `level` is not in (0, 1).

    >>> standard = Gaussian(jnp.zeros((2, 1)), jnp.ones((2, 1)))
    >>> coverage(standard, jnp.array([[1.6], [1.7]])).item()  # the edge is at 1.645
    0.5
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: got {level}, wants a number in (0, 1)")
    mean, std = prediction
    inside = jnp.abs(targets - mean) <= std * ndtri((1 + level) / 2)
    return weighted_mean(row_mean(inside.astype(mean.dtype)), weights)
