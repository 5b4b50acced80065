"""The multi-class support vector machine as a differentiable function.

Crammer, Singer 2001, On the Algorithmic Implementation of Multiclass Kernel-based Vector
Machines; Lee, Maji, Ravichandran, Soatto 2019, Meta-Learning with Differentiable Convex
Optimization, https://arxiv.org/abs/1904.03758.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import at_least, positive
from jaxmeta.core import Array, Scalar
from jaxmeta.shapes import Float


def svm_dual(
    gram: Float[Array, "n n"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
    *,
    C: float,
    iterations: int = 1000,
) -> Float[Array, "n c"]:
    """Solves the dual of the Crammer-Singer support vector machine.

        min_a  1/2 sum_k a_k^T K a_k - sum_{n,k} t_nk a_nk
        s.t.   a_nk <= w_n C t_nk,   sum_k a_nk = 0         (Lee et al., eqs. 4-6)

    The solution is found by accelerated projected gradient with restarts, in steps that
    are not differentiated. Its derivative is that of the
    optimality conditions: with P the projection onto the directions in which a can move
    (the free entries, each row summing to 0), P K P z = P v for a cotangent v, and the
    cotangent of K is -z a^T. It is exact as far as the solution is: see `kkt_residual`.

    What is solved is in units of K's size, b = |K| a: features s times as long are the
    same problem at a price of C s^2, to the last digit.

    Args:
      gram: K = X X^T, `[n, n]`.
      targets: one-hot `[n, c]`. They, the weights and `C` are held constant.
      weights: w, `[n]`, or `None` for all 1: violations of an example count w times. An
        example of weight 0 gets a = 0, and its row and column of K are not read.
      C: the price of a margin violation, > 0.
      iterations: at most, >= 1; they end where rounding lets no step be smaller.
        Features that are far from round (raw columns of different units, a large
        common offset) need many.

    Returns:
      a, `[n, c]`; the weights of the classes are W = X^T a.

    Raises:
      ValueError: for a `C` that is not positive, or `iterations < 1`.

    >>> svm_dual(jnp.eye(2), jnp.eye(2), C=1.0).round(3).tolist()
    [[0.5, -0.5], [-0.5, 0.5]]
    """
    positive(C=C)
    at_least(1, iterations=iterations)
    return _solution(*_counted(gram, targets, weights, C), iterations)


def kkt_residual(
    gram: Float[Array, "n n"],
    targets: Float[Array, "n c"],
    dual: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
    *,
    C: float,
) -> Scalar:
    """How far a dual point is from optimal: by what its examples want to move.

        max_n |a_n - P_n(a_n - (K a - T)_n / K_nn)| / min(w_n C, 1 / K_nn)

    P_n is the nearest feasible row. An example alone has |a_n| of the size that it is
    divided by. Where no bound is near it is the error of a score, beside the margin
    of 1: so it does not depend on the units of the features, and a direction in which
    the machine is slow counts in full.

    Args:
      gram: `[n, n]`.
      targets: `[n, c]`.
      dual: a, `[n, c]`.
      weights: as in `svm_dual`.
      C: as in `svm_dual`.

    Returns:
      A scalar >= 0; 0 exactly at the solution, above 0.01 not converged.

    >>> float(kkt_residual(jnp.eye(2), jnp.eye(2), jnp.zeros((2, 2)), C=1.0))
    0.5
    """
    gram, targets, caps = _counted(gram, targets, weights, C)
    own = jnp.diagonal(gram)[:, None]
    own = jnp.where(own > 0, own, 1.0)
    scores = gram @ dual
    # in units of 1 / K_nn, as in `_solution`
    b, caps = own * dual, own * caps
    moved = _project(b - (scores - targets), targets, caps)
    unit = jnp.minimum(caps, 1.0)
    gap = jnp.abs(b - moved) / jnp.where(unit > 0, unit, 1.0)
    return jnp.max(jnp.where(unit > 0, gap, 0.0))


def _counted(gram, targets, weights, C) -> tuple[Array, Array, Array]:
    """K and T without the rows that do not count; the largest |a_n| of each, `[n, 1]`."""
    targets = targets.astype(gram.dtype)
    if weights is None:
        return gram, targets, jnp.full((targets.shape[0], 1), C, gram.dtype)
    there = weights > 0
    gram = jnp.where(there[:, None] & there, gram, 0)
    targets = jnp.where(there[:, None], targets, 0)
    return gram, targets, (C * weights.astype(gram.dtype))[:, None]


def _project(a: Array, targets: Array, caps: Array) -> Array:
    """The nearest point with a <= caps t and rows that sum to 0."""
    # It is min(a - u, caps t) for one number u a row. Were only the classes R below
    # their bound, u would be (sum of a over R + sum of bounds outside) / |R|; the right R
    # are those with the least a - bound, and give the least u: no sort is needed.
    # No number is taken from a bound that may be far larger than all of them.
    bounds = caps * targets
    key = a - bounds
    # A class that no target names takes no part: its variables stay 0.
    present = jnp.any((targets != 0) & (caps > 0), axis=0)
    # A compiler may compute keys anew for either side of a comparison, and round them
    # otherwise: with `slack` an entry is at least itself, and its equals, all the same.
    size = jnp.abs(key)
    slack = 8 * jnp.finfo(a.dtype).eps * (size[:, None, :] + size[:, :, None])
    under = (key[:, None, :] <= key[:, :, None] + slack) & present  # [n, r, k]
    total = jnp.sum(jnp.where(under, a[:, None, :], bounds[:, None, :] * present), -1)
    count = jnp.sum(under, -1)
    u = jnp.where(present, total / jnp.maximum(count, 1), jnp.inf)
    u = jnp.min(u, -1, keepdims=True)
    return jnp.where(present & (caps > 0), jnp.minimum(a - u, bounds), 0.0)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _solution(gram: Array, targets: Array, caps: Array, iterations: int) -> Array:
    # Row sums: with D = diag of them, D - K is positive semi-definite, so that a step
    # of 1/D never overshoots. They differ a row, as examples differ in length.
    size = jnp.sum(jnp.abs(gram), 1, keepdims=True)
    size = jnp.where(size > 0, size, 1.0)
    across = gram / size.T  # K a = across b, where b = D a
    scaled = caps * size

    def body(carry):
        b, ahead, t, _, i = carry
        new = _project(ahead - (across @ ahead - targets), targets, scaled)
        moved, most = jnp.max(jnp.abs(new - ahead)), jnp.max(jnp.abs(new))
        # Beck and Teboulle 2009; momentum that points uphill is dropped
        # (O'Donoghue and Candes 2015)
        uphill = jnp.sum((ahead - new) * (new - b) / size * jnp.min(size)) > 0
        t = jnp.where(uphill, 1.0, t)
        t_new = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        ahead = new + jnp.where(uphill, 0.0, (t - 1) / t_new) * (new - b)
        return new, ahead, t_new, moved > jnp.finfo(new.dtype).eps * most, i + 1

    def running(carry):
        return carry[3] & (carry[4] < iterations)

    start, one = jnp.zeros_like(targets, gram.dtype), jnp.ones((), gram.dtype)
    b = lax.while_loop(running, body, (start, start, one, jnp.array(True), 0))[0]
    # what lies on its bound does so to the last digit: the derivative asks
    return jnp.where(b >= scaled * targets, caps * targets, b / size)


def _forward(gram, targets, caps, iterations):
    a = _solution(gram, targets, caps, iterations)
    return a, (gram, targets, caps, a)


def _backward(iterations, kept, v):
    gram, targets, caps, a = kept
    # the projection puts active entries on their bound exactly
    free = (caps * targets > a).astype(a.dtype)
    count = jnp.maximum(free.sum(-1, keepdims=True), 1.0)

    def tangent(z):
        z = free * z
        return free * (z - z.sum(-1, keepdims=True) / count)

    # K and v in units of their own, or the squares of `cg` leave float32
    size, length = _largest(gram), _largest(v)
    gram, v = gram / size, v / length
    z = _solved(lambda z: tangent(gram @ tangent(z)), tangent(v), a.size)
    slope = -(length / size * z) @ a.T
    return slope, jnp.zeros_like(targets), jnp.zeros_like(caps)


def _solved(product, b: Array, steps: int) -> Array:
    """Conjugate gradients for a matrix that may be singular, `product` of it and z.

    A direction in which the matrix is zero to rounding ends them, as a pseudo-inverse
    leaves it out: fewer features than examples, or examples that are nearly equal.
    """
    eps = jnp.finfo(b.dtype).eps
    least = eps * len(b)  # a curvature; the largest is of order one and more
    enough = jnp.square(10 * eps) * jnp.sum(b * b)

    def running(carry):
        _, _, _, rest, i, usable = carry
        return usable & (rest > enough) & (i < steps)

    def step(carry):
        z, r, p, rest, i, _ = carry
        q = product(p)
        curved = jnp.sum(p * q)
        usable = curved > least * jnp.sum(p * p)
        rate = jnp.where(usable, rest / jnp.where(usable, curved, 1.0), 0.0)
        z, r = z + rate * p, r - rate * q
        after = jnp.sum(r * r)
        return z, r, r + after / rest * p, after, i + 1, usable

    start = (jnp.zeros_like(b), b, b, jnp.sum(b * b), 0, jnp.array(True))
    return lax.while_loop(running, step, start)[0]


def _largest(x: Array) -> Scalar:
    most = jnp.max(jnp.abs(x))
    return jnp.where(most > 0, most, 1.0)


_solution.defvjp(_forward, _backward)
