"""The derivative of a minimum, without the path that led to it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.checks import not_negative, positive
from jaxmeta.core import Array, PyTree
from jaxmeta.gradients.base import Argmin, Problem, Report
from jaxmeta.gradients.closure import cotangent, hoist, parted
from jaxmeta.gradients.linear import ConjugateGradient, LinearSolver, cg
from jaxmeta.gradients.unrolled import Unrolled


class Implicit(NamedTuple):
    """The value that `implicit` makes; its arguments are its attributes."""

    solver: LinearSolver = ConjugateGradient(5, 1e-10)
    damping: float = 0.0
    trust: float | None = None

    def __call__(self, problem: Problem, start: PyTree, hypers: PyTree) -> Argmin:
        if problem.varies:
            raise ValueError(
                "batches: got some for each step, wants None: implicit gradients are "
                "those of one loss at its minimum"
            )
        if problem.visit is not None:
            raise ValueError(
                "visit: got a function, wants None: the way to a minimum has no implicit "
                "gradient"
            )
        loss, captured = hoist(problem.loss, start, hypers, ())
        still = lax.stop_gradient((captured, start, hypers))
        walk = problem._replace(loss=lambda *at: loss(still[0], *at))
        found = lax.stop_gradient(Unrolled(last=0)(walk, *still[1:]))
        left = lambda phi: optax.tree.norm(  # noqa: E731
            jax.grad(loss, argnums=1)(still[0], phi, still[2], ())
        )
        begin = left(still[1])
        norm = left(found.params)
        gap = _ratio(norm, begin)
        lam = None
        if problem.proximal is not None:
            lam = jnp.asarray(problem.proximal, begin.dtype)

        @jax.custom_vjp
        def attach(phi, gap, given):
            return phi

        def forward(phi, gap, given):
            # its own answer again, so that a second derivative sees the first one's rule
            phi = attach(phi, gap, given)
            return phi, (phi, gap, given)

        def backward(kept, g):
            phi, gap, given = kept
            lam = given[2]
            real, fill = parted(given)

            def slope(phi, real):
                captured, hypers, _, _ = fill(real)
                return jax.grad(loss, argnums=1)(captured, phi, hypers, ())

            solved = self.solve(lambda phi: slope(phi, real), phi, g, lam)
            u = solved.gradient
            if self.trust is not None:
                good = (gap <= self.trust) & (solved.residual <= self.trust)
                u = jax.tree.map(lambda x: jnp.where(good, x, jnp.nan), u)
            # F(phi, given) = 0 is the stationarity of the loss, and the implicit function
            # theorem pulls g back to -(dF/dgiven)^T u with u = H^-1 g
            _, pull = jax.vjp(lambda real: slope(phi, real), real)
            found = cotangent(given, pull(jax.tree.map(jnp.negative, u))[0])
            watched = solved.residual.astype(jnp.result_type(given[3]))
            zeros = jax.tree.map(jnp.zeros_like, (phi, gap))
            return (*zeros, (*found[:3], watched))

        attach.defvjp(forward, backward)
        given = (captured, hypers, lam, jnp.asarray(problem.watch, begin.dtype))
        params = attach(found.params, gap, given)
        return found._replace(params=params, report=Report(gap, norm))

    def solve(self, slope, phi: PyTree, g: PyTree, lam: Array | None) -> "Solution":
        """u = H^-1 g with the Hessian H = d slope / d phi, and how well it solves that.

        With a proximal term of strength lam the system is that of the paper,
        (I + (H - lam I) / (lam + damping)) v = g with u = v / lam: it begins at v = g,
        the first-order gradient, and damping leans there.
        """
        scale = 1.0 if lam is None else lam + self.damping

        def system(v):
            _, hv = jax.jvp(slope, (phi,), (v,))
            return jax.tree.map(lambda v, h: (h + self.damping * v) / scale, v, hv)

        v = self.solver(system, g)
        miss = optax.tree.norm(optax.tree.sub(system(v), g))
        residual = _ratio(miss, optax.tree.norm(g))
        return Solution(
            jax.tree.map(lambda v: v / (1.0 if lam is None else lam), v), residual
        )


class Solution(NamedTuple):
    """Of a linear system: u, and the norm of H u - g relative to g's."""

    gradient: PyTree
    residual: Array


def implicit(
    *,
    solver: LinearSolver = cg(),
    damping: float = 0.0,
    trust: float | None = None,
) -> Implicit:
    """The gradient of a minimum: memory and time do not depend on the steps to it.

        phi(h) = argmin_w L(w, h),    d phi / d h = -H^-1 d^2 L / dw dh,   H = d^2 L / dw^2

    The solver walks from the start and is not differentiated; the gradient is exact as
    far as it arrives and the linear system is solved. Both are said:

        argmin(...).report.gap       the inner gradient that is left, 0 at a minimum
        argmin(..., watch=w)         d / dw is the residual of the linear system, for
                                     a w of 0.0 that is differentiated beside the hypers

    and learners report both, as "inner_gap" and "linear_residual". A minimum does not
    depend on where the search began or on how it went: the start, the solver's state and
    rates, and the losses on the way have no gradient. Give the start one by a proximal
    term (`argmin(..., proximal=lam)`). Whatever the loss closes over has its gradient.

    Args:
      solver: `cg`, `neumann` or `direct` of `jaxmeta.gradients`.
      damping: added to H, where a loss is flat or concave and H not definite; 0 is exact.
      trust: where the gap or the residual is above, the gradient is NaN, which a trainer
        refuses; `None` lets all pass.

    Returns:
      A gradient.

    Raises:
      ValueError: for a negative `damping` or a `trust` that is not positive.

    References:
      Bengio 2000, Gradient-Based Optimization of Hyperparameters; Pedregosa 2016,
      arXiv:1602.02355; Rajeswaran et al. 2019, arXiv:1909.04630; Lorraine et al. 2020,
      arXiv:1911.02590.

    >>> implicit(damping=0.1).damping
    0.1
    """
    not_negative(damping=damping)
    if trust is not None:
        positive(trust=trust)
    return Implicit(solver, damping, trust)


def _ratio(a: Array, b: Array) -> Array:
    return a / jnp.where(b > 0, b, 1)
