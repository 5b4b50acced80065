"""Two players in one gradient: reversal, and the difference of two stopped values.

Ganin and Lempitsky 2015, https://arxiv.org/abs/1409.7495 (the reversal layer);
Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661 (the game).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.core import Array, PyTree, Scalar


def reverse_gradient(x: PyTree, strength: float | Array = 1.0) -> PyTree:
    """The identity, whose gradient is turned round and scaled on the way back.

        R(x) = x,   dR/dx = -strength I

    What comes after it in the network descends a loss, what comes before it ascends the
    same loss, `strength` times as fast. It is no function's true derivative: forward mode
    (`jax.jvp`, so `jax.hessian` too) is refused, finite differences disagree by design.

    Args:
      x: a pytree of floating-point arrays.
      strength: lambda, a scalar; may be traced, and has itself a gradient of zero.

    Returns:
      `x`.

    References:
      Ganin and Lempitsky 2015, arXiv:1409.7495, eq. 11 and 12.

    >>> float(jax.grad(lambda x: reverse_gradient(x, 0.5) ** 2)(3.0))
    -3.0
    """
    strength = jnp.asarray(strength)
    return jax.tree.map(lambda leaf: _reverse(jnp.asarray(leaf), strength), x)


@jax.custom_vjp
def _reverse(x: Array, strength: Array) -> Array:
    return x


def _forward(x, strength):
    return x, strength


def _backward(strength, cotangent):
    turned = -strength.astype(cotangent.dtype) * cotangent
    return turned, jnp.zeros_like(strength)


_reverse.defvjp(_forward, _backward)


def two_player(
    value: Callable[[PyTree, PyTree], Scalar], g: PyTree, d: PyTree
) -> Scalar:
    """A scalar whose gradient lets `g` descend a value and `d` ascend it.

        S(g, d) = V(g, sg d) - V(sg g, d),   dS/dg = dV/dg,   dS/dd = -dV/dd

    One optimiser on (g, d) then takes a simultaneous step of min_g max_d V. The scalar is
    zero wherever it is finite: report V itself. Unlike `reverse_gradient` it leaves the
    derivatives in `g` alone exact to any order.

    Args:
      value: V, `(g, d) -> scalar`.
      g: parameters of the player that minimises.
      d: parameters of the player that maximises.

    Returns:
      A scalar, 0.

    References:
      Goodfellow et al. 2014, arXiv:1406.2661, eq. 1.

    >>> jax.grad(lambda p: two_player(lambda g, d: g * d, *p))((2.0, 5.0))
    (Array(5., dtype=float32, weak_type=True), Array(-2., dtype=float32, weak_type=True))
    """
    return value(g, lax.stop_gradient(d)) - value(lax.stop_gradient(g), d)
