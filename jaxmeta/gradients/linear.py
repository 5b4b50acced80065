"""Solvers of the symmetric linear system behind an implicit gradient."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.flatten_util import ravel_pytree
from jax.scipy.sparse.linalg import cg as _cg

from jaxmeta.checks import at_least, not_negative, positive
from jaxmeta.core import PyTree
from jaxmeta.functional.linear_algebra import solve

System = Callable[[PyTree], PyTree]


class LinearSolver(Protocol):
    """Solves `system(x) = b` for a symmetric linear map of trees.

    It starts from x = b, so that the roughest answer is not zero but the gradient of a
    minimum that moves as far as it is pushed.
    """

    def __call__(self, system: System, b: PyTree) -> PyTree: ...


class ConjugateGradient(NamedTuple):
    """The value that `cg` makes."""

    steps: int
    tolerance: float

    def __call__(self, system: System, b: PyTree) -> PyTree:
        return _cg(system, b, x0=b, tol=self.tolerance, maxiter=self.steps)[0]


class Neumann(NamedTuple):
    """The value that `neumann` makes."""

    steps: int
    rate: float

    def __call__(self, system: System, b: PyTree) -> PyTree:
        def solve(system, b):
            def step(x, _):
                left = jax.tree.map(lambda b, a: b - a, b, system(x))
                return jax.tree.map(lambda x, r: x + self.rate * r, x, left), None

            return lax.scan(step, b, length=self.steps)[0]

        return lax.custom_linear_solve(system, b, solve, symmetric=True)


class Direct(NamedTuple):
    """The value that `direct` makes."""

    def __call__(self, system: System, b: PyTree) -> PyTree:
        flat, restore = ravel_pytree(b)
        columns = jax.vmap(lambda e: ravel_pytree(system(restore(e)))[0])
        return restore(solve(columns(jnp.eye(flat.size, dtype=flat.dtype)), flat))


def cg(*, steps: int = 5, tolerance: float = 1e-10) -> ConjugateGradient:
    """Conjugate gradient: exact in as many steps as there are parameters.

    For a positive definite system; elsewhere it may go anywhere, and the residual says
    so. A step is one product with the Hessian.

    Args:
      steps: at most so many, >= 0.
      tolerance: stops at this residual, relative to the right-hand side.

    Returns:
      A solver for `implicit`.

    Raises:
      ValueError: for a negative option.

    References:
      Rajeswaran et al. 2019, arXiv:1909.04630, section 3.1.

    >>> cg()(lambda x: 4 * x, jnp.array(2.0)).item()
    0.5
    """
    at_least(0, steps=steps)
    not_negative(tolerance=tolerance)
    return ConjugateGradient(steps, tolerance)


def neumann(*, steps: int = 20, rate: float = 1.0) -> Neumann:
    """A truncated Neumann series: what backpropagation through so many steps sees.

        A^-1 b ~ x_n,   x_0 = b,   x_{j+1} = x_j + rate (b - A x_j)

    Converges where all eigenvalues of `rate` A are in (0, 2). No step at all is the
    method T1-T2, which takes the Hessian for the identity.

    Args:
      steps: terms after the first, >= 0.
      rate: of each step, positive; that of the inner solver is usual.

    Returns:
      A solver for `implicit`.

    Raises:
      ValueError: for a negative `steps` or a `rate` that is not positive.

    References:
      Lorraine et al. 2020, Optimizing Millions of Hyperparameters by Implicit
      Differentiation, arXiv:1911.02590; Luketina et al. 2016, arXiv:1511.06727 (T1-T2).

    >>> round(neumann(steps=60, rate=0.1)(lambda x: 4 * x, jnp.array(2.0)).item(), 6)
    0.5
    """
    at_least(0, steps=steps)
    positive(rate=rate)
    return Neumann(steps, rate)


def direct() -> Direct:
    """The whole matrix, and elimination: exact, for a few hundred parameters.

    >>> direct()(lambda x: 4 * x, jnp.array(2.0)).item()
    0.5
    """
    return Direct()
