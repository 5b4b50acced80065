"""Linear classifiers in closed form: ridge regression, and logistic by Newton steps.

Bertinetto, Henriques, Torr, Vedaldi 2019, Meta-learning with Differentiable Closed-form
Solvers, https://arxiv.org/abs/1805.08136.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import at_least, one_of
from jaxmeta.core import Array
from jaxmeta.functional.linear_algebra import cholesky, solve, solve_positive
from jaxmeta.losses import real_only
from jaxmeta.shapes import Float

Form = Literal["auto", "primal", "dual"]


def ridge(
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    lam: Array | float,
    weights: Float[Array, " n"] | None = None,
    *,
    form: Form = "auto",
) -> Float[Array, "d c"]:
    """Ridge regression.

        W = argmin sum_i w_i ||x_i W - y_i||^2 + lam ||W||^2
          = (X^T X + lam I_d)^-1 X^T Y            primal                  (eq. 4)
          = X^T (X X^T + lam I_n)^-1 Y            dual, by Woodbury       (eq. 6)

    where rows of X and Y have been multiplied by sqrt(w_i). A system that is singular in
    this precision, because `lam` is lost beside features that depend on each other, gets
    16 epsilons of its largest entry on the diagonal.

    Args:
      x: `[n, d]`.
      y: `[n, c]`.
      lam: lam > 0, a scalar.
      weights: w, `[n]`, or `None` for all 1. What a row of weight 0 holds does not
        matter.
      form: "auto" solves the smaller of the two systems.

    Returns:
      `[d, c]`.

    Raises:
      ValueError: for an unknown `form`.

    >>> ridge(jnp.array([[1.0], [1.0]]), jnp.array([[3.0], [3.0]]), 1.0).round(4)
    Array([[2.]], dtype=float32)
    """
    one_of(("auto", "primal", "dual"), form=form)
    x, y = real_only(x, weights), real_only(y, weights)
    if weights is not None:
        there = weights > 0
        root = jnp.sqrt(jnp.where(there, weights, 1).astype(x.dtype))  # no slope at 0
        x, y = (jnp.where(there, root, 0)[:, None] * z for z in (x, y))
    n, d = x.shape
    if form == "primal" or (form == "auto" and d < n):
        return solve_positive(_raised(x.T @ x, lam), x.T @ y)
    return x.T @ solve_positive(_raised(x @ x.T, lam), y)


def _raised(gram: Array, lam: Array | float) -> Array:
    """K + lam I, and a little more where that is singular."""
    system = gram + lam * jnp.eye(len(gram), dtype=gram.dtype)
    return system + _missing(system) * jnp.eye(len(gram), dtype=gram.dtype)


def _missing(system: Array) -> Array:
    """What a diagonal lacks: nothing where no pivot is rounding alone."""
    system = lax.stop_gradient(system)
    own, eps = jnp.diagonal(system), jnp.finfo(system.dtype).eps
    # a squared pivot is what is left of an entry once the rows before are known
    pivots = jnp.square(jnp.diagonal(cholesky(system)))
    regular = jnp.all(pivots > 64 * eps * own)  # False where Cholesky fails
    return jnp.where(regular, 0, 16 * eps * jnp.max(own))


def logistic(
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
    lam: Array | float,
    weights: Float[Array, " n"] | None = None,
    *,
    steps: int,
) -> Float[Array, "d c"]:
    """Ridge-penalised logistic regression, one class against the rest, by Newton steps.

        w_c = argmin  sum_i weight_i [log(1 + e^{z_i}) - y_ic z_i] + lam/2 ||w||^2,
        z = X w

    With w = X^T a, S = diag(weight mu (1 - mu)) and K = X X^T, a Newton step from a is
        (lam I + S K) a' = S K a + weight (y - mu),
    the iteratively reweighted least squares of the paper (eqs. 9-11) without its
    division by mu (1 - mu), which vanishes for an example that is already certain. With
    more examples than features the same step is taken from w:
        (lam I + X^T S X) w' = X^T (S X w + weight (y - mu)).
    A singular system is treated as in `ridge`.

    Args:
      x: `[n, d]`.
      y: `[n, c]` in [0, 1]; each column is a problem of its own.
      lam: lam > 0, a scalar.
      weights: `[n]`, or `None` for all 1. What a row of weight 0 holds does not matter.
      steps: Newton steps from w = 0; about 5 converge, each one is differentiated.

    Returns:
      `[d, c]`.

    Raises:
      ValueError: for a negative `steps`.

    >>> x, y = jnp.array([[1.0], [-1.0]]), jnp.array([[1.0], [0.0]])
    >>> logistic(x, y, 1.0, steps=6).round(3)  # w = 2 / (1 + e^w)
    Array([[0.675]], dtype=float32)
    """
    at_least(0, steps=steps)
    x, y = real_only(x, weights), real_only(y, weights)
    n, d = x.shape
    weight = jnp.ones((n,), x.dtype) if weights is None else weights.astype(x.dtype)
    one = _from_w if d < n else _from_a
    return jax.vmap(lambda y: one(x, y, lam, weight, steps), 1, 1)(y)


def _slopes(z, y, weight):
    mu = jax.nn.sigmoid(z)
    return weight * mu * (1 - mu), weight * (y - mu)


def _from_w(x, y, lam, weight, steps):
    w = jnp.zeros(x.shape[1:], x.dtype)
    for _ in range(steps):
        z = x @ w
        s, slope = _slopes(z, y, weight)
        system = _raised(x.T @ (s[:, None] * x), lam)
        w = solve_positive(system, x.T @ (s * z + slope))
    return w


def _from_a(x, y, lam, weight, steps):
    gram = x @ x.T  # [n, n]
    eye = jnp.eye(len(gram), dtype=gram.dtype)
    gram = gram + _missing(gram + lam * eye) * eye
    a = jnp.zeros(y.shape, x.dtype)
    for _ in range(steps):
        z = gram @ a
        s, slope = _slopes(z, y, weight)
        a = solve(s[:, None] * gram + lam * eye, s * z + slope)
    return x.T @ a
