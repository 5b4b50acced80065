"""The derivative of a minimum, without the path that led to it.

Rajeswaran, Finn, Kakade, Levine 2019, Meta-Learning with Implicit Gradients,
https://arxiv.org/abs/1909.04630.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.scipy.sparse.linalg import cg

from jaxmeta.checks import at_least, not_negative, positive
from jaxmeta.core import Array, PyTree
from jaxmeta.functional.closure import hoist
from jaxmeta.functional.unroll import Unrolled, unroll

Loss = Callable[[PyTree, PyTree, Array], Array]


class Implicit(NamedTuple):
    """The solution of a linear system, and how well it solves it.

    Attributes:
      gradient: v, a tree like the parameters.
      residual: ||(I + H/lam) v - g|| / ||g||, a scalar; 0 where g = 0.
    """

    gradient: PyTree
    residual: Array


def implicit_gradient(
    loss: Loss,
    params: PyTree,
    batch: PyTree,
    cotangent: PyTree,
    *,
    lam: float | Array,
    cg_steps: int = 5,
    cg_tol: float = 1e-10,
    damping: float = 0.0,
    step: int = 0,
) -> Implicit:
    """Pulls a gradient at the minimum back to the centre of its proximal term.

        phi = argmin_w L(w) + lam/2 ||w - theta||^2
        (I + H/lam) v = g,   H = grad^2 L(phi),   v = (d phi / d theta)^T g     (eq. 6)

    With damping the system is I + H/(lam + damping): biased towards the first-order
    gradient, and definite where L is more concave than `lam` allows.

    Conjugate gradient starts from v = g, so `cg_steps=0` is the first-order gradient
    and never zero. It solves exactly in as many steps as there are parameters, for a
    positive definite I + H/lam; where L is too concave for `lam` the residual says so.

    Args:
      loss: `(params, batch, step) -> scalar`, L, without the proximal term.
      params: phi, where H is taken.
      batch: passed to `loss`.
      cotangent: g, the gradient of the outer loss at phi.
      lam: strength of the proximal term, positive.
      cg_steps: at most so many steps, each one Hessian-vector product.
      cg_tol: stops at a residual of `cg_tol * ||g||`.
      damping: added to `lam` in the system, not negative; 0 is exact.
      step: passed to `loss`.

    Returns:
      An `Implicit`: report its residual beside whatever is made of its gradient.

    Raises:
      ValueError: for a `lam` that is not positive, or a negative `cg_steps` or `damping`.

    References:
      Rajeswaran et al. 2019, arXiv:1909.04630, eq. (6) and algorithm 2.

    >>> square = lambda w, x, step: 0.5 * jnp.sum((w * x) ** 2)
    >>> out = implicit_gradient(
    ...     square, jnp.array(1.0), jnp.array(2.0), jnp.array(5.0), lam=1.0)
    >>> float(out.gradient)  # 5 / (1 + 4)
    1.0
    """
    _check(lam, cg_steps, damping)

    def system(v):
        grad = lambda w: jax.grad(loss)(w, batch, jnp.array(step))  # noqa: E731
        _, hv = jax.jvp(grad, (params,), (v,))
        return jax.tree.map(lambda v, h: v + h / (lam + damping), v, hv)

    v, _ = cg(system, cotangent, x0=cotangent, tol=cg_tol, maxiter=cg_steps)
    miss = optax.tree.norm(optax.tree.sub(system(v), cotangent))
    size = optax.tree.norm(cotangent)
    return Implicit(v, miss / jnp.where(size > 0, size, 1))


def proximal_minimum(
    loss: Loss,
    theta: PyTree,
    tx: optax.GradientTransformation,
    batch: PyTree,
    *,
    steps: int,
    lam: float | Array,
    cg_steps: int = 5,
    cg_tol: float = 1e-10,
    damping: float = 0.0,
) -> Unrolled:
    """Minimises a loss near `theta`; the derivative is the minimum's, not the path's.

        phi(theta) = argmin_w L(w) + lam/2 ||w - theta||^2
        d phi / d theta = (I + H/lam)^-1

    `tx` walks `steps` steps from theta; the walk is not differentiated and keeps
    nothing. The derivative is that of the stationary point: exact as far as the walk
    arrives there and conjugate gradient solves its system (`implicit_gradient` reports
    how far). It also covers whatever else `loss` reads: `batch`, `lam`, and the arrays
    it closes over (frozen parameters). What `tx` closes over gets none, since a minimum
    does not depend on how it was reached: refuse learned rules beside this function.

    Args:
      loss: `(params, batch, step) -> scalar`, L, without the proximal term.
      theta: start and centre, any pytree of floating-point arrays.
      tx: the inner optimiser; it sees the gradient of L and of the proximal term.
      batch: what every step sees.
      steps: K >= 0 steps of the walk.
      lam: strength of the proximal term, positive.
      cg_steps: conjugate-gradient steps in the backward pass.
      cg_tol: stops them at this relative residual.
      damping: as in `implicit_gradient`.

    Returns:
      An `Unrolled`; its `params` carry the derivative, its `losses` (with the proximal
      term) and `state` none.

    Raises:
      ValueError: for a `lam` that is not positive, or negative `steps`, `cg_steps` or
        `damping`.

    References:
      Rajeswaran et al. 2019, arXiv:1909.04630, section 3 and lemma 1.

    >>> square = lambda w, x, step: 0.5 * jnp.sum((w - x) ** 2)
    >>> def phi(theta):
    ...     return proximal_minimum(
    ...         square, theta, optax.sgd(0.5), jnp.array(0.0), steps=9, lam=1.0).params
    >>> float(phi(jnp.array(4.0))), float(jax.grad(phi)(jnp.array(4.0)))
    (2.0, 0.5)
    """
    _check(lam, cg_steps, damping)
    last = max(steps - 1, 0)
    lam = jnp.asarray(lam, jnp.result_type(*jax.tree.leaves(theta)))
    bare, captured = hoist(loss, theta, batch, jnp.array(0))

    def near(w, given, k):
        centre, lam, batch, captured = given
        gap = jax.tree.map(lambda a, b: jnp.sum(jnp.square(a - b)), w, centre)
        return bare(captured, w, batch, k) + 0.5 * lam * sum(jax.tree.leaves(gap))

    given = (theta, lam, batch, captured)
    walked = lax.stop_gradient(
        unroll(
            near,
            lax.stop_gradient(theta),
            tx,
            lax.stop_gradient(given),
            steps=steps,
            order="first",
        )
    )

    @jax.custom_vjp
    def attach(phi, given):
        return phi

    def forward(phi, given):
        return phi, (phi, given)

    def backward(kept, g):
        phi, given = kept
        _, lam, batch, captured = given
        solved = implicit_gradient(
            lambda w, batch, k: bare(captured, w, batch, k),
            phi, batch, g,
            lam=lam, cg_steps=cg_steps, cg_tol=cg_tol, damping=damping, step=last,
        )  # fmt: skip
        # F(phi, given) = 0 is the stationarity of `near`; the implicit function theorem
        # pulls g back to -(dF/dgiven)^T u with u = (H + lam I)^-1 g. For theta that is
        # lam u = v itself.
        u = jax.tree.map(lambda v: -v / lam, solved.gradient)
        _, pull = jax.vjp(
            lambda given: jax.grad(near)(phi, given, jnp.array(last)), given
        )
        return jax.tree.map(jnp.zeros_like, phi), pull(u)[0]

    attach.defvjp(forward, backward)
    return walked._replace(params=attach(walked.params, given))


def _check(lam: float | Array, cg_steps: int, damping: float) -> None:
    positive(lam=lam)
    at_least(0, cg_steps=cg_steps)
    not_negative(damping=damping)
