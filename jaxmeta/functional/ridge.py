"""Linear classifiers in closed form: ridge regression, and logistic by Newton steps.

Bertinetto, Henriques, Torr, Vedaldi 2019, Meta-learning with Differentiable Closed-form
Solvers, https://arxiv.org/abs/1805.08136.
"""

from typing import Literal

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve

from jaxmeta.core import Array

Form = Literal["auto", "primal", "dual"]


def ridge(x: Array, y: Array, lam: Array | float, *, form: Form = "auto") -> Array:
    """Ridge regression.

        W = argmin ||X W - Y||^2 + lam ||W||^2
          = (X^T X + lam I_d)^-1 X^T Y            primal                  (eq. 4)
          = X^T (X X^T + lam I_n)^-1 Y            dual, by Woodbury       (eq. 6)

    Args:
      x: `[n, d]`. Rows of zeros in both `x` and `y` change nothing.
      y: `[n, c]`.
      lam: lam > 0, a scalar.
      form: "auto" solves the smaller of the two systems.

    Returns:
      `[d, c]`.

    Raises:
      ValueError: for an unknown `form`.

    >>> ridge(jnp.array([[1.0], [1.0]]), jnp.array([[3.0], [3.0]]), 1.0).round(4)
    Array([[2.]], dtype=float32)
    """
    if form not in ("auto", "primal", "dual"):
        raise ValueError(f'form: got {form!r}, wants "auto", "primal" or "dual"')
    n, d = x.shape
    if form == "primal" or (form == "auto" and d < n):
        return solve(x.T @ x + lam * jnp.eye(d, dtype=x.dtype), x.T @ y, assume_a="pos")
    return x.T @ solve(x @ x.T + lam * jnp.eye(n, dtype=x.dtype), y, assume_a="pos")


def logistic(
    x: Array, y: Array, lam: Array | float, *, steps: int, weights: Array | None = None
) -> Array:
    """Ridge-penalised logistic regression, one class against the rest, by Newton steps.

        w_c = argmin  sum_i weight_i [log(1 + e^{z_i}) - y_ic z_i] + lam/2 ||w||^2,
        z = X w

    With w = X^T a, S = diag(weight mu (1 - mu)) and K = X X^T, a Newton step from a is
        (lam I + S K) a' = S K a + weight (y - mu),
    the iteratively reweighted least squares of the paper (eqs. 9-11) without its
    division by mu (1 - mu), which vanishes for an example that is already certain.

    Args:
      x: `[n, d]`.
      y: `[n, c]` in [0, 1]; each column is a problem of its own.
      lam: lam > 0, a scalar.
      steps: Newton steps from w = 0; about 5 converge, each one is differentiated.
      weights: `[n]`, ones by default; 0 leaves an example out.

    Returns:
      `[d, c]`.

    Raises:
      ValueError: for a negative `steps`.

    >>> x, y = jnp.array([[1.0], [-1.0]]), jnp.array([[1.0], [0.0]])
    >>> logistic(x, y, 1.0, steps=6).round(3)  # w = 2 / (1 + e^w)
    Array([[0.675]], dtype=float32)
    """
    if steps < 0:
        raise ValueError(f"steps: got {steps}, wants an integer >= 0")
    n = x.shape[0]
    gram = x @ x.T  # [n, n]
    weight = jnp.ones((n,), x.dtype) if weights is None else weights
    penalty = lam * jnp.eye(n, dtype=x.dtype)

    def newton(a, y):
        ka = gram @ a
        mu = jax.nn.sigmoid(ka)
        s = weight * mu * (1 - mu)
        return solve(penalty + s[:, None] * gram, s * ka + weight * (y - mu))

    def one(y):
        a = jnp.zeros((n,), x.dtype)
        for _ in range(steps):
            a = newton(a, y)
        return a

    return x.T @ jax.vmap(one, 1, 1)(y)
