"""Distributions over Gaussian processes: kernels, and ranges of their hyper-parameters.

Rasmussen and Williams 2006, Gaussian Processes for Machine Learning, chapter 4.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Key
from jaxmeta.shapes import Float

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


def covariance(
    kernels: Kernels, hyper: Hyper, a: Float[Array, "n d"], b: Float[Array, "m d"]
) -> Float[Array, "n m"]:
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
