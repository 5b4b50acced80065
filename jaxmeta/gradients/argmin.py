"""Any inner problem, differentiable in what it depends on."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.checks import at_least, positive
from jaxmeta.core import Array, Key, PyTree
from jaxmeta.gradients.base import Argmin, Gradient, Problem
from jaxmeta.gradients.unrolled import Unrolled

Solver = optax.GradientTransformation | Callable[[PyTree], optax.GradientTransformation]


def argmin(
    loss: Callable[..., Array],
    params: PyTree,
    hypers: PyTree,
    solver: Solver,
    *,
    steps: int,
    gradient: Gradient = Unrolled(),
    batches: PyTree | Callable[[Array], PyTree] | None = None,
    proximal: float | Array | None = None,
    state: PyTree | None = None,
    visit: Callable[[PyTree, Array], Any] | None = None,
    key: Key | None = None,
    now: Array | int | None = None,
    watch: Array | float = 0.0,
) -> Argmin:
    """Minimises a loss from `params` and stays differentiable in `hypers` and the start.

        phi_0 = params,   phi_{k+1} = solver(phi_k, grad_phi L(phi_k, h; b_k)),   K times

    An outer loss is any function of the answer: `jax.grad` of it is the hypergradient.
    The losses of the steps are outputs like any other, so a method whose outer loss is
    their sum (online meta-learning, test-time training) needs no second forward pass.
    It works under `jax.vmap` (many problems), `jax.jit`, on sharded arrays, and inside
    the loss of another `argmin`.

    Args:
      loss: `(params, hypers) -> scalar`, or `(params, hypers, batch)` with `batches`. It
        may close over anything: frozen parameters, buffers, keys.
      params: phi_0, any pytree of floating-point arrays (`None` leaves are skipped).
      hypers: h, any pytree.
      solver: an Optax transform, or a function from `hypers` to one, for rates or a rule
        that are learned, too. One that takes extra arguments is given the step's loss
        as `value`.
      steps: K >= 0.
      gradient: how to differentiate, a value of `jaxmeta.gradients`.
      batches: what each step sees: a tree with a leading axis of K, or a function of the
        step, which counts from 0.
      proximal: lam; adds lam/2 ||phi - params||^2 to the loss, so that a minimum depends
        on the start.
      state: the solver's state to start from.
      visit: called as `visit(phi_k, k)` after each step, k = 1..K.
      key: for gradients that draw, `evolution` and `persistent_evolution`.
      now: the outer step, for `annealed`.
      watch: for `implicit`; the derivative in it is the residual of the linear system.

    Returns:
      An `Argmin`.

    Raises:
      ValueError: for a negative `steps`, a `proximal` that is not positive, batches of
        another length, or what a gradient cannot serve.

    References:
      Franceschi et al. 2018, Bilevel Programming for Hyperparameter Optimization and
      Meta-Learning, arXiv:1806.04910.

    >>> from jaxmeta.gradients import implicit
    >>> def ridge(w, h):
    ...     return 0.5 * (w - 3.0) ** 2 + 0.5 * h * w**2         # w* = 3 / (1 + h)
    >>> def outer(h):
    ...     return argmin(ridge, 0.0, h, optax.sgd(0.5), steps=50, gradient=implicit()).params
    >>> round(float(outer(1.0)), 6), round(float(jax.grad(outer)(1.0)), 6)
    (1.5, -0.75)
    """
    at_least(0, steps=steps)
    params = jax.tree.map(jnp.asarray, params)
    task, given = loss, hypers
    if batches is None:
        task = lambda phi, hypers, batch: loss(phi, hypers)  # noqa: E731
    solve = solver if callable(solver) else lambda hypers: solver
    if proximal is not None:
        positive(proximal=proximal)
        given = (hypers, params, proximal)
        task, solve = near(task), lambda given, solve=solve: solve(given[0])
    problem = Problem(
        task,
        solve,
        steps,
        *_each_step(batches, steps),
        proximal=proximal,
        state=state,
        visit=visit,
        key=key,
        now=now,
        watch=watch,
    )
    return gradient(problem, params, given)


def near(loss):
    """The same with a proximal term, whose centre and strength are hypers."""

    def regularised(phi, given, batch):
        hypers, centre, lam = given
        gaps = jax.tree.map(lambda a, b: jnp.sum(jnp.square(a - b)), phi, centre)
        return loss(phi, hypers, batch) + 0.5 * lam * sum(jax.tree.leaves(gaps))

    return regularised


def _each_step(batches, steps: int):
    """`(step -> batch, whether there are any)`."""
    if batches is None:
        return (lambda step: ()), False
    if callable(batches):
        return batches, True
    for x in jax.tree.leaves(batches):
        if jnp.shape(x)[:1] != (steps,):
            raise ValueError(
                f"batches: got a leaf of shape {jnp.shape(x)}, wants a leading axis of "
                f"steps, {steps}"
            )

    def at(step):
        return jax.tree.map(
            lambda x: lax.dynamic_index_in_dim(x, step, keepdims=False), batches
        )

    return at, True
