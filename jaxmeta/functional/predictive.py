"""What a learner believes about its queries: a mixture of equally likely members.

One record serves weights drawn from a posterior, particles and a single network, in
classification and in regression.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm

from jaxmeta.core import Array, Key, Scalar
from jaxmeta.functional.gaussian import Gaussian, row_mean
from jaxmeta.functional.rows import clean_rows
from jaxmeta.losses import weighted_mean
from jaxmeta.shapes import Float

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)  # for E over N(0, 1)


class Predictive(NamedTuple):
    """p(y | x) = 1/M sum_m p_m(y | x), for `n` queries one by one.

    Attributes:
      members: `[M, n, c]`. In classification the log-probabilities of each member, in
        regression its means.
      std: `[M, n, c]` or what broadcasts to it, positive, in units of the targets;
        `None` is classification.
    """

    members: Array
    std: Array | None = None


def categorical(logits: Array) -> Predictive:
    """Members from logits `[M, n, c]`, or one member from `[n, c]`.

    >>> mean(categorical(jnp.zeros((2, 4)))).tolist()
    [[0.25, 0.25, 0.25, 0.25], [0.25, 0.25, 0.25, 0.25]]
    """
    logits = logits[None] if logits.ndim == 2 else logits
    return Predictive(jax.nn.log_softmax(logits))


def normal(means: Array, std: Array | float) -> Predictive:
    """Members from means `[M, n, c]`, or one member from `[n, c]`, and their noise.

    >>> normal(jnp.zeros((3, 2, 1)), 0.5).std.shape
    (3, 2, 1)
    """
    means = means[None] if means.ndim == 2 else means
    return Predictive(
        means, jnp.broadcast_to(jnp.asarray(std, means.dtype), means.shape)
    )


def of_gaussian(prediction: Gaussian) -> Predictive:
    """The single member that a regressor with a standard deviation is.

    >>> of_gaussian(Gaussian(jnp.zeros((2, 1)), jnp.ones((2, 1)))).members.shape
    (1, 2, 1)
    """
    return normal(*prediction)


def mean(p: Predictive) -> Array:
    """The predicted mean `[n, c]`, or in classification the probabilities.

        E y = 1/M sum_m f_m(x),   p(c) = 1/M sum_m p_m(c)

    >>> mean(normal(jnp.array([[[1.0]], [[3.0]]]), 1.0)).tolist()
    [[2.0]]
    """
    return jnp.exp(log_mean(p)) if p.std is None else p.members.mean(0)


def log_mean(p: Predictive) -> Array:
    """Logarithms of the probabilities `[n, c]`; classification alone.

    >>> jnp.exp(log_mean(categorical(jnp.zeros((1, 4))))).tolist()
    [[0.25, 0.25, 0.25, 0.25]]
    """
    return jax.nn.logsumexp(p.members, 0) - math.log(p.members.shape[0])


def point(p: Predictive) -> Array:
    """What a `MetaLearner` predicts: log-probabilities, or means: `[n, c]`.

    >>> point(normal(jnp.ones((3, 2, 1)), 0.5)).shape
    (2, 1)
    """
    return log_mean(p) if p.std is None else mean(p)


def log_prob(p: Predictive, targets: Float[Array, "... n c"]) -> Float[Array, "..."]:
    """Log-likelihood of every target under the mixture.

        log 1/M sum_m N(t; f_m, s_m^2),   or   log 1/M sum_m p_m(t)

    Args:
      p: the prediction.
      targets: real values `[n, c]`, or one-hot rows.

    Returns:
      `[n, c]` in regression; `[n]` in classification.

    Raises:
      ValueError: if the shapes differ.

    >>> round(log_prob(normal(jnp.zeros((1, 1)), 1.0), jnp.zeros((1, 1))).item(), 4)
    -0.9189
    """
    if p.members.shape[1:] != targets.shape:
        raise ValueError(
            f"members: got shape {p.members.shape}, wants M times that of targets "
            f"{targets.shape}"
        )
    if p.std is None:
        return jnp.sum(jnp.where(targets > 0, targets * log_mean(p), 0.0), -1)
    return _mix(norm.logpdf(targets, p.members, p.std))


def _mix(log_densities: Array) -> Array:
    return jax.nn.logsumexp(log_densities, 0) - math.log(log_densities.shape[0])


def nll(
    p: Predictive,
    targets: Float[Array, "... n c"],
    weights: Float[Array, "..."] | None = None,
) -> Scalar:
    """Mean negative log-likelihood of the targets, in nats.

        -sum_i w_i log p(t_i | x_i) / sum_i w_i

    Args:
      p: the prediction.
      targets: real values `[n, c]`, of which it is the mean over c too, or one-hot rows.
      weights: w, `[n]`, or `None` for all 1. What a row of weight 0 holds does not
        matter.

    Returns:
      A scalar.

    Raises:
      ValueError: if the shapes differ.

    >>> round(nll(categorical(jnp.zeros((2, 4))), jnp.eye(2, 4)).item(), 4)  # log 4
    1.3863
    """
    p, targets = counted(p, targets, weights)
    return weighted_mean(row_mean(-log_prob(p, targets)), weights)


def counted(
    p: Predictive, targets: Array, weights: Array | None
) -> tuple[Predictive, Array]:
    """Both with a copy of a real query where the weight is 0, which has no gradient.

    >>> p, t = counted(categorical(jnp.zeros((2, 3))), jnp.eye(2, 3), jnp.array([0.0, 1.0]))
    >>> t.argmax(-1).tolist()
    [1, 1]
    """
    if weights is None:
        return p, targets
    if p.std is not None:
        p = normal(p.members, p.std)  # a row for each query
    turned = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), p)
    turned, targets = clean_rows((turned, targets), weights)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), turned), targets


def entropy(p: Predictive) -> Array:
    """Entropy in nats: `[n]` in classification, of every entry `[n, c]` in regression.

    That of a mixture of normals has no closed form; each member's expectation of
    -log p is taken by Gauss-Hermite quadrature of 32 nodes, exact for one member.

    >>> round(entropy(categorical(jnp.zeros((1, 2)))).item(), 4)  # log 2
    0.6931
    """
    members, std = p
    if std is None:
        log_p = log_mean(p)
        return -jnp.sum(jnp.where(jnp.isfinite(log_p), jnp.exp(log_p) * log_p, 0.0), -1)

    def at(node):
        y = members + std * node  # [M, n, c], one point of each member
        return jax.vmap(lambda t: _mix(norm.logpdf(t, members, std)))(y).mean(0)

    weights = jnp.asarray(WEIGHTS / WEIGHTS.sum(), p.members.dtype)
    return -jnp.tensordot(weights, jax.vmap(at)(jnp.asarray(NODES, weights.dtype)), 1)


def information(p: Predictive) -> Array:
    """What the members disagree about: entropy of the mean less mean entropy.

        I = H[1/M sum_m p_m] - 1/M sum_m H[p_m]  >= 0

    It is the part of the uncertainty that more examples would remove.

    Returns:
      The shape of `entropy`.

    >>> round(abs(information(categorical(jnp.zeros((3, 1, 2)))).item()), 4)  # all agree
    0.0
    """
    alone = jax.vmap(entropy)(jax.tree.map(lambda x: x[:, None], p))
    return entropy(p) - alone.mean(0)


def sample(p: Predictive, key: Key, samples: int) -> Array:
    """Draws targets `[samples, n, c]`: real values, or one-hot rows.

    Each draw is of one member throughout, so in regression it is one function, noise
    and all.

    >>> sample(categorical(jnp.zeros((2, 4))), jax.random.key(0), 3).sum(-1).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    which, within = jax.random.split(key)
    m = jax.random.randint(which, (samples,), 0, p.members.shape[0])
    chosen = p.members[m]
    if p.std is None:
        labels = jax.random.categorical(within, chosen)
        return jax.nn.one_hot(labels, chosen.shape[-1], dtype=chosen.dtype)
    noise = jax.random.normal(within, chosen.shape, chosen.dtype)
    return chosen + jnp.broadcast_to(p.std, p.members.shape)[m] * noise


def cdf(p: Predictive, targets: Array) -> Array:
    """P(y <= t), the probability integral transform `[n, c]`; regression alone.

    Uniform on [0, 1] where the prediction is calibrated.

    Raises:
      ValueError: for a classification.

    >>> cdf(normal(jnp.zeros((1, 1)), 1.0), jnp.zeros((1, 1))).tolist()
    [[0.5]]
    """
    if p.std is None:
        raise ValueError("p: got a prediction of classes, wants one of real values")
    return norm.cdf(targets, p.members, p.std).mean(0)


def coverage(
    p: Predictive,
    targets: Float[Array, "... n c"],
    weights: Float[Array, "..."] | None = None,
    *,
    level: float = 0.9,
) -> Scalar:
    """Fraction of the targets inside the central band of probability `level`.

        (1 - level) / 2 <= P(y <= t) <= (1 + level) / 2

    Args:
      p: a prediction of real values.
      targets: `[n, c]`.
      weights: `[n]`, or `None` for all 1.
      level: in (0, 1).

    Returns:
      A scalar in [0, 1]; `level` if calibrated.

    Raises:
      ValueError: if `level` is not in (0, 1).

    >>> coverage(normal(jnp.zeros((2, 1)), 1.0), jnp.array([[1.6], [1.7]])).item()
    0.5
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: got {level}, wants a number in (0, 1)")
    inside = jnp.abs(cdf(p, targets) - 0.5) <= level / 2
    return weighted_mean(row_mean(inside.astype(p.members.dtype)), weights)
