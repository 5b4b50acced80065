"""Gaussian processes: the prior over functions whose posterior is known exactly.

A task that is drawn from one shows how near a network comes to Bayes' rule. Where the
hyper-parameters are random as well, the posterior is a mixture over them.

Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, chapters 2 and 4.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve, solve_triangular
from jax.scipy.stats import norm

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Batch, Key, Scalar
from jaxmeta.functional.gaussian import Gaussian
from jaxmeta.functional.rows import clean, weights_of

Range = float | tuple[float, float]
Kernels = tuple[str, ...]


class Hyper(NamedTuple):
    """Hyper-parameters of one process, a number for each of the k kernels of its sum.

    Attributes:
      length: length scales `[k]`.
      scale: output scales `[k]`: standard deviations of the functions.
      period: periods `[k]`; of the periodic kernel alone.
      noise: standard deviation of the targets about the function, a scalar.
    """

    length: Array
    scale: Array
    period: Array
    noise: Array


def _rbf(d: Array, length: Array, period: Array) -> Array:
    return jnp.exp(-0.5 * _squares(d / length))


def _matern12(d: Array, length: Array, period: Array) -> Array:
    return jnp.exp(-_distance(d / length))


def _matern32(d: Array, length: Array, period: Array) -> Array:
    r = math.sqrt(3.0) * _distance(d / length)
    return (1 + r) * jnp.exp(-r)


def _matern52(d: Array, length: Array, period: Array) -> Array:
    r = math.sqrt(5.0) * _distance(d / length)
    return (1 + r + r * r / 3) * jnp.exp(-r)


def _periodic(d: Array, length: Array, period: Array) -> Array:
    return jnp.exp(-2 * _squares(jnp.sin(jnp.pi * d / period) / length))


def _squares(x: Array) -> Array:
    return jnp.sum(jnp.square(x), -1)


def _distance(x: Array) -> Array:
    s = _squares(x)
    # the root has no derivative at 0, where a point meets itself
    return jnp.where(s > 0, jnp.sqrt(jnp.where(s > 0, s, 1.0)), 0.0)


KERNELS = {
    "rbf": _rbf,
    "matern12": _matern12,
    "matern32": _matern32,
    "matern52": _matern52,
    "periodic": _periodic,
}
"""Stationary kernels by name: `(differences [..., d], length, period) -> [...]`."""


@dataclass(frozen=True)
class Prior:
    """A distribution over Gaussian processes: a sum of kernels, and ranges.

    Each range is a number, or `(low, high)` of a uniform distribution.

    Attributes:
      kernel: names out of `KERNELS`, joined by "+": "rbf", "matern12+periodic".
      length: of the length scale of every kernel.
      scale: of the output scale of every kernel.
      period: of the period of a periodic one.
      noise: of the standard deviation of the noise; > 0.

    >>> Prior("rbf+periodic", noise=0.1).kernels
    ('rbf', 'periodic')
    """

    kernel: str = "rbf"
    length: Range = (0.1, 0.6)
    scale: Range = (0.1, 1.0)
    period: Range = (0.1, 0.5)
    noise: Range = 0.02

    def __post_init__(self):
        for name in self.kernels:
            if name not in KERNELS:
                wants = f"one of {', '.join(KERNELS)}, or several joined by +"
                raise refusal("kernel", repr(self.kernel), wants)
        for name in ("length", "scale", "period", "noise"):
            low, high = _bounds(getattr(self, name))
            if not 0 < low <= high < math.inf:
                wants = "a number > 0, or two (low, high) with 0 < low <= high"
                raise refusal(name, getattr(self, name), wants)

    @property
    def kernels(self) -> Kernels:
        """The names of the sum."""
        return tuple(name.strip() for name in self.kernel.split("+"))

    def of_unit(self, u: Array) -> Hyper:
        """Hyper-parameters from numbers in [0, 1], `[3 k + 1]`."""
        k = len(self.kernels)

        def one(name: str, u: Array) -> Array:
            low, high = _bounds(getattr(self, name))
            return low + (high - low) * u

        length, scale, period = (
            one(name, u[i * k : (i + 1) * k])
            for i, name in enumerate(("length", "scale", "period"))
        )
        return Hyper(length, scale, period, one("noise", u[3 * k]))


def _bounds(given: Range) -> tuple[float, float]:
    low, high = given if isinstance(given, tuple | list) else (given, given)
    return float(low), float(high)


def draw(prior: Prior, key: Key) -> Hyper:
    """Hyper-parameters at random.

    >>> draw(Prior(noise=0.5), jax.random.key(0)).noise.item()
    0.5
    """
    return prior.of_unit(jax.random.uniform(key, (3 * len(prior.kernels) + 1,)))


def nodes(prior: Prior, number: int) -> Hyper:
    """Hyper-parameters that fill the prior evenly: nodes of a quasi-Monte-Carlo sum.

    Sobol's points, in the dimensions that the prior leaves open; those that it fixes take
    no part.

    Args:
      prior: the ranges.
      number: how many; the next power of two.

    Returns:
      A `Hyper` with a leading axis.

    >>> [round(x, 4) for x in nodes(Prior(scale=1.0), 4).length[:, 0].tolist()]
    [0.1625, 0.4125, 0.5375, 0.2875]
    """
    from scipy.stats import qmc  # slow to import

    at_least(1, number=number)
    k = len(prior.kernels)
    power = math.ceil(math.log2(number))
    free = [
        i * k + j
        for i, name in enumerate(("length", "scale", "period", "noise"))
        if len(set(_bounds(getattr(prior, name)))) > 1
        for j in range(1 if name == "noise" else k)
        if name != "period" or prior.kernels[j] == "periodic"
    ]
    u = np.full((2**power, 3 * k + 1), 0.5)
    if free:  # the middle of each point's cell, not its corner
        points = qmc.Sobol(len(free), scramble=False).random_base2(power)
        u[:, free] = points + 0.5 / 2**power
    return jax.vmap(prior.of_unit)(jnp.asarray(u, jnp.zeros(()).dtype))


def covariance(kernels: Kernels, hyper: Hyper, a: Array, b: Array) -> Array:
    """How the values of a function at some places vary together.

        K_ij = sum_k s_k^2 k_k(a_i - b_j; l_k, p_k)

        rbf        exp(-r^2 / 2),   r = |a - b| / l
        matern12   exp(-r)
        matern32   (1 + sqrt(3) r) exp(-sqrt(3) r)
        matern52   (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r)
        periodic   exp(-2 sum_d sin^2(pi (a_d - b_d) / p) / l^2)

    Args:
      kernels: names out of `KERNELS`.
      hyper: a number for each.
      a: places `[n, d]`.
      b: places `[m, d]`.

    Returns:
      `[n, m]`, without the noise.

    >>> hyper = Hyper(jnp.ones(1), jnp.full(1, 2.0), jnp.ones(1), jnp.array(0.1))
    >>> covariance(("rbf",), hyper, jnp.zeros((1, 1)), jnp.zeros((1, 1))).tolist()
    [[4.0]]
    """
    apart = a[:, None, :] - b[None, :, :]
    parts = [
        jnp.square(hyper.scale[i])
        * KERNELS[name](apart, hyper.length[i], hyper.period[i])
        for i, name in enumerate(kernels)
    ]
    return sum(parts[1:], parts[0])


class _Learned(NamedTuple):
    """The factor of a support set's covariance, and what it makes of the targets."""

    factor: Array  # lower, [n, n]
    solved: Array  # K^-1 y, [n, c]
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
    factor = jnp.linalg.cholesky(k + jnp.diag(jnp.where(real, noise, 1.0)))
    y = jnp.where(real[:, None], support.targets, 0.0)
    return _Learned(factor, cho_solve((factor, True), y), support, real)


def _believed(kernels, hyper, learned: _Learned, inputs: Array) -> Gaussian:
    x = inputs.reshape(inputs.shape[0], -1)
    seen = learned.support.inputs.reshape(len(learned.real), -1)
    k = jnp.where(learned.real[:, None], covariance(kernels, hyper, seen, x), 0.0)
    mean = k.T @ learned.solved
    shrunk = jnp.sum(jnp.square(solve_triangular(learned.factor, k, lower=True)), 0)
    prior = jnp.sum(jnp.square(hyper.scale))
    # rounding may take a variance below that of the noise, never exact inference
    variance = jnp.maximum(prior - shrunk, 0.0) + jnp.square(hyper.noise)
    std = jnp.sqrt(variance)[:, None]
    return Gaussian(mean, jnp.broadcast_to(std, mean.shape))


def posterior(
    kernels: Kernels, hyper: Hyper, support: Batch, inputs: Array
) -> Gaussian:
    """What exact inference says of the targets at some inputs, each by itself.

        m = k_*^T (K + s^2 I)^-1 y,   v = k_** - k_*^T (K + s^2 I)^-1 k_* + s^2

    Args:
      kernels: names out of `KERNELS`.
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
      kernels: names out of `KERNELS`.
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
    factor, solved, support, real = learned
    y = jnp.where(real[:, None], support.targets, 0.0)
    logs = jnp.sum(jnp.log(jnp.diagonal(factor)))
    constant = 0.5 * math.log(2 * math.pi) * jnp.sum(real)
    return -0.5 * jnp.sum(y * solved) - (logs + constant) * y.shape[1]


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
    prior: Prior, support: Batch, inputs: Array, *, number: int = 1024
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


def log_prob(belief: Gaussian | Averaged, targets: Array) -> Array:
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
