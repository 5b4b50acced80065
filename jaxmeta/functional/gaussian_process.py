"""Exact inference in Gaussian processes: priors over functions with a known posterior.

A task that is drawn from one shows how near a network comes to Bayes' rule. Where the
hyper-parameters are random as well, the posterior is a mixture over them.

Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, chapter 2.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm

from jaxmeta.core import Array, Batch, Scalar
from jaxmeta.functional.gaussian import Gaussian
from jaxmeta.functional.gaussian_prior import Hyper, Kernels, Prior, covariance, nodes
from jaxmeta.functional.linear_algebra import cholesky, solve_lower
from jaxmeta.functional.rows import clean, weights_of
from jaxmeta.shapes import Float


class _Learned(NamedTuple):
    """The factor of a support set's covariance K = L L^T, and what it makes of targets."""

    factor: Array  # L, lower, [n, n]
    halved: Array  # L^-1 y, [n, c]
    support: Batch
    real: Array  # boolean [n]


def _learned(kernels: Kernels, hyper: Hyper, support: Batch) -> _Learned:
    support = clean(support)
    weights = weights_of(support)
    real = weights > 0
    both = real[:, None] & real[None, :]
    x = support.inputs.reshape(len(weights), -1)
    k = jnp.where(both, covariance(kernels, hyper, x, x), 0.0)
    # a row of weight 0 is apart from all, of variance 1: it adds nothing anywhere
    noise = jnp.square(hyper.noise) / jnp.where(real, weights, 1.0)
    factor = cholesky(k + jnp.diag(jnp.where(real, noise, 1.0)))
    y = jnp.where(real[:, None], support.targets, 0.0)
    return _Learned(factor, solve_lower(factor, y), support, real)


def _believed(kernels, hyper, learned: _Learned, inputs: Array) -> Gaussian:
    x = inputs.reshape(inputs.shape[0], -1)
    seen = learned.support.inputs.reshape(len(learned.real), -1)
    k = jnp.where(learned.real[:, None], covariance(kernels, hyper, seen, x), 0.0)
    halved = solve_lower(learned.factor, k)
    mean = halved.T @ learned.halved
    shrunk = jnp.sum(jnp.square(halved), 0)
    prior = jnp.sum(jnp.square(hyper.scale))
    # rounding may take a variance below that of the noise, never exact inference
    variance = jnp.maximum(prior - shrunk, 0.0) + jnp.square(hyper.noise)
    std = jnp.sqrt(variance)[:, None]
    return Gaussian(mean, jnp.broadcast_to(std, mean.shape))


def posterior(
    kernels: Kernels, hyper: Hyper, support: Batch, inputs: Float[Array, "m ..."]
) -> Gaussian:
    """What exact inference says of the targets at some inputs, each by itself.

        m = k_*^T (K + s^2 I)^-1 y,   v = k_** - k_*^T (K + s^2 I)^-1 k_* + s^2

    Args:
      kernels: names out of `gaussian_prior.KERNELS`.
      hyper: of the process.
      support: examples `[n, ...]`; one of weight 2 is two equal ones.
      inputs: `[m, ...]`.

    Returns:
      Mean and standard deviation of the targets, noise included, `[m, c]`.

    References:
      Rasmussen and Williams 2006, eqs. (2.25) and (2.26).

    >>> hyper = Hyper(jnp.ones(1), jnp.ones(1), jnp.ones(1), jnp.array(1.0))
    >>> one = Batch(jnp.zeros((1, 1)), jnp.ones((1, 1)))
    >>> round(posterior(("rbf",), hyper, one, jnp.zeros((1, 1))).mean.item(), 4)
    0.5
    """
    return _believed(kernels, hyper, _learned(kernels, hyper, support), inputs)


def log_evidence(kernels: Kernels, hyper: Hyper, support: Batch) -> Scalar:
    """The log-likelihood of a support set's targets, all together.

        log p(y) = -1/2 y^T (K + s^2 I)^-1 y - 1/2 log |K + s^2 I| - n/2 log 2 pi

    Args:
      kernels: names out of `gaussian_prior.KERNELS`.
      hyper: of the process.
      support: examples; of weight 1, or of 0 and then not there.

    Returns:
      A scalar, in nats; over columns of the targets it is the sum.

    References:
      Rasmussen and Williams 2006, eq. (2.30).

    >>> hyper = Hyper(jnp.ones(1), jnp.ones(1), jnp.ones(1), jnp.array(1.0))
    >>> one = Batch(jnp.zeros((1, 1)), jnp.zeros((1, 1)))
    >>> round(log_evidence(("rbf",), hyper, one).item(), 4)  # N(0; 0, 2)
    -1.2655
    """
    return _evidence(_learned(kernels, hyper, support))


def _evidence(learned: _Learned) -> Scalar:
    factor, halved, _, real = learned
    logs = jnp.sum(jnp.log(jnp.diagonal(factor)))
    constant = 0.5 * math.log(2 * math.pi) * jnp.sum(real)
    return -0.5 * jnp.sum(jnp.square(halved)) - (logs + constant) * halved.shape[1]


class Averaged(NamedTuple):
    """A posterior predictive over hyper-parameters: a mixture of normals.

        p(y | x, D) = sum_s w_s N(y; m_s, v_s),   w_s proportional to p(D | hyper_s)

    Attributes:
      log_weights: `[s]`; their exponentials sum to 1.
      mean: `[s, m, c]`.
      std: `[s, m, c]`.
    """

    log_weights: Array
    mean: Array
    std: Array


def averaged(
    prior: Prior, support: Batch, inputs: Float[Array, "m ..."], *, number: int = 1024
) -> Averaged:
    """What exact inference says where the hyper-parameters are unknown, too.

    The integral over them is a sum over nodes that fill the prior, each weighed by how
    likely it makes the support set. It is near where many nodes share the weight: 1 / sum
    w^2 says how many. Much data, or a period, can pin a hyper-parameter down between two
    nodes; then the sum says less than exact inference would, and more nodes help.

    Args:
      prior: what they are drawn from.
      support: examples `[n, ...]`, of weight 1 or 0.
      inputs: `[m, ...]`.
      number: of nodes, a power of two; memory grows with `number n^2`.

    Returns:
      An `Averaged`.

    >>> none = Batch(jnp.zeros((1, 1)), jnp.zeros((1, 1)), jnp.zeros(1))
    >>> averaged(Prior(), none, jnp.zeros((2, 1)), number=8).mean.shape
    (8, 2, 1)
    """

    def at(hyper: Hyper):
        learned = _learned(prior.kernels, hyper, support)
        return _evidence(learned), _believed(prior.kernels, hyper, learned, inputs)

    evidence, found = jax.vmap(at)(nodes(prior, number))
    return Averaged(jax.nn.log_softmax(evidence), *found)


def log_prob(belief: Gaussian | Averaged, targets: Float[Array, "m c"]) -> Array:
    """The log-density of every target under exact inference, `[m, c]`, in nats.

    Args:
      belief: of `posterior` or of `averaged`.
      targets: `[m, c]`.

    >>> standard = Gaussian(jnp.zeros((1, 1)), jnp.ones((1, 1)))
    >>> round(log_prob(standard, jnp.zeros((1, 1))).item(), 4)
    -0.9189
    """
    if isinstance(belief, Gaussian):
        return norm.logpdf(targets, belief.mean, belief.std)
    each = norm.logpdf(targets, belief.mean, belief.std)
    return jax.nn.logsumexp(each + belief.log_weights[:, None, None], 0)


def moments(belief: Averaged) -> Gaussian:
    """Mean and standard deviation of a mixture, `[m, c]`.

        m = sum_s w_s m_s,   v = sum_s w_s (v_s + m_s^2) - m^2

    >>> one = Averaged(jnp.zeros(1), jnp.ones((1, 2, 1)), jnp.full((1, 2, 1), 0.5))
    >>> moments(one).std.ravel().tolist()
    [0.5, 0.5]
    """
    w = jnp.exp(belief.log_weights)
    mean = jnp.tensordot(w, belief.mean, 1)
    apart = jnp.square(belief.std) + jnp.square(belief.mean - mean)
    return Gaussian(mean, jnp.sqrt(jnp.tensordot(w, apart, 1)))
