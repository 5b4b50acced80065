"""The multi-class support vector machine as a differentiable function.

Crammer, Singer 2001, On the Algorithmic Implementation of Multiclass Kernel-based Vector
Machines; Lee, Maji, Ravichandran, Soatto 2019, Meta-Learning with Differentiable Convex
Optimization, https://arxiv.org/abs/1904.03758.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.sparse.linalg import cg

from jaxmeta.core import Array, Scalar


def svm_dual(gram: Array, targets: Array, *, C: float, iterations: int = 100) -> Array:
    """Solves the dual of the Crammer-Singer support vector machine.

        min_a  1/2 sum_k a_k^T K a_k - sum_{n,k} t_nk a_nk
        s.t.   a_nk <= C t_nk,   sum_k a_nk = 0             (Lee et al., eqs. 4-6)

    The solution is found by accelerated projected gradient with restarts, a fixed
    number of steps that are not differentiated. Its derivative is that of the
    optimality conditions: with P the projection onto the directions in which a can move
    (the free entries, each row summing to 0), P K P z = P v for a cotangent v, and the
    cotangent of K is -z a^T. It is exact as far as the solution is: see `kkt_residual`.

    Args:
      gram: K = X X^T, `[n, n]`.
      targets: one-hot `[n, c]`; rows of zeros are padding and get a = 0. They and `C`
        are held constant.
      C: the price of a margin violation, > 0.
      iterations: >= 1.

    Returns:
      a, `[n, c]`; the weights of the classes are W = X^T a.

    Raises:
      ValueError: for a `C` that is not positive, or `iterations < 1`.

    >>> svm_dual(jnp.eye(2), jnp.eye(2), C=1.0).round(3).tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    if not C > 0:
        raise ValueError(f"C: got {C}, wants a positive number")
    if iterations < 1:
        raise ValueError(f"iterations: got {iterations}, wants an integer >= 1")
    return _solution(gram, lax.stop_gradient(targets), C, iterations)


def kkt_residual(gram: Array, targets: Array, dual: Array, *, C: float) -> Scalar:
    """How far a dual point is from optimal: what a projected gradient step moves it.

        max | a - P_feasible(a - (K a - T)/||K||) | / C

    Args:
      gram: `[n, n]`.
      targets: `[n, c]`.
      dual: a, `[n, c]`.
      C: as in `svm_dual`.

    Returns:
      A scalar >= 0, relative to C; 0 exactly at the solution.

    >>> float(kkt_residual(jnp.eye(2), jnp.eye(2), jnp.zeros((2, 2)), C=1.0))
    0.5
    """
    moved = _project(dual - (gram @ dual - targets) / _scale(gram), targets, C)
    return jnp.max(jnp.abs(dual - moved)) / C


def _scale(gram: Array) -> Scalar:
    # the largest absolute row sum bounds the largest eigenvalue
    bound = jnp.max(jnp.sum(jnp.abs(gram), 1))
    return jnp.where(bound > 0, bound, 1.0)


def _project(a: Array, targets: Array, C: float) -> Array:
    """The nearest point with a <= C t and rows that sum to 0."""
    # u - a lies on a simplex of size C (0 for padding). Its threshold is the largest
    # of (sum of the r largest - size)/r over r: no sort needed to take that maximum.
    # A class that no target names takes no part: its variables stay 0.
    present = jnp.any(targets != 0, axis=0)
    low = jnp.finfo(a.dtype).min / (2 * a.shape[1])
    b = jnp.where(present, C * targets - a, low)
    # A compiler may compute b anew for either side of a comparison, and round it
    # otherwise: with `slack` an entry is at least itself, and its equals, all the same.
    slack = 8 * jnp.finfo(b.dtype).eps * (C + jnp.max(jnp.abs(a), -1)[:, None, None])
    at_least = (b[:, None, :] >= b[:, :, None] - slack).astype(b.dtype)  # [n, r, k]
    size = C * targets.sum(-1, keepdims=True)
    threshold = jnp.max(
        (jnp.sum(at_least * b[:, None, :], -1) - size) / jnp.sum(at_least, -1),
        axis=-1,
        keepdims=True,
    )
    return C * targets - jnp.maximum(b - threshold, 0.0) * (size > 0)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _solution(gram: Array, targets: Array, C: float, iterations: int) -> Array:
    step = 1.0 / _scale(gram)

    def body(_, carry):
        a, ahead, t = carry
        new = _project(ahead - step * (gram @ ahead - targets), targets, C)
        # Beck and Teboulle 2009; momentum that points uphill is dropped
        # (O'Donoghue and Candes 2015)
        uphill = jnp.sum((ahead - new) * (new - a)) > 0
        t = jnp.where(uphill, 1.0, t)
        t_new = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        ahead = new + jnp.where(uphill, 0.0, (t - 1) / t_new) * (new - a)
        return new, ahead, t_new

    start = jnp.zeros_like(targets, gram.dtype)
    one = jnp.ones((), gram.dtype)
    return lax.fori_loop(0, iterations, body, (start, start, one))[0]


def _forward(gram, targets, C, iterations):
    a = _solution(gram, targets, C, iterations)
    return a, (gram, targets, a)


def _backward(C, iterations, kept, v):
    gram, targets, a = kept
    # rounding of the projection puts active entries on their bound exactly
    free = ((C * targets - a) > 0).astype(a.dtype)
    count = jnp.maximum(free.sum(-1, keepdims=True), 1.0)

    def tangent(z):
        z = free * z
        return free * (z - z.sum(-1, keepdims=True) / count)

    eps = jnp.finfo(a.dtype).eps
    z, _ = cg(
        lambda z: tangent(gram @ tangent(z)), tangent(v), tol=10 * eps, maxiter=a.size
    )
    return -z @ a.T, jnp.zeros_like(targets)


_solution.defvjp(_forward, _backward)
