"""What every way to differentiate an inner solve shares: one problem in, one answer out."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import optax

from jaxmeta.core import Array, Key, PyTree


class Report(NamedTuple):
    """How near an inner solve came to a minimum.

    Attributes:
      gap: the norm of the inner gradient at the end, relative to where it began: 0 at a
        minimum, 1 for a solver that went nowhere. Scalars without derivative, both.
      norm: the same, not relative: where a solver starts near a minimum, as it does where
        it goes on from the last answer, this one tells.
    """

    gap: Array
    norm: Array


class Argmin(NamedTuple):
    """Where an inner solve ended.

    Attributes:
      params: phi_K, differentiable as the gradient says.
      losses: `[steps]`, the inner loss before each step; differentiable, too, but under
        `implicit`: a minimum knows nothing of the way to it.
      state: the solver's state after K steps.
      visits: what `visit` returned after each step, stacked; `None` without `visit`.
      report: a `Report` where the gradient is that of a minimum, else `None`.
    """

    params: PyTree
    losses: Array
    state: PyTree
    visits: PyTree = None
    report: Report | None = None


class Problem(NamedTuple):
    """An inner problem: all but where it starts and what it depends on.

    Attributes:
      loss: `(params, hypers, batch) -> scalar`.
      solver: `hypers -> optax.GradientTransformation`: rates may be hypers.
      steps: K.
      batches: `step -> batch`, for steps that count from 0.
      varies: whether the batch is another one in each step.
      proximal: lam, where `loss` has a term lam/2 ||params - start||^2, else `None`.
      state: the solver's state to start from, or `None`.
      visit: called as `visit(phi_k, k)` after each step, k = 1..K, or `None`.
      key: for gradients that draw, or `None`.
      now: the outer step, for gradients that change with it, or `None`.
      watch: a scalar whose derivative is the residual of a linear solve.
    """

    loss: Callable[[PyTree, PyTree, PyTree], Array]
    solver: Callable[[PyTree], optax.GradientTransformation]
    steps: int
    batches: Callable[[Array], PyTree] = lambda step: ()
    varies: bool = False
    proximal: float | Array | None = None
    state: PyTree | None = None
    visit: Callable[[PyTree, Array], Any] | None = None
    key: Key | None = None
    now: Array | int | None = None
    watch: Array | float = 0.0


class Gradient(Protocol):
    """A way to differentiate: it runs the solver, and its answer has the derivative.

    All are values: named tuples of options that compare and print as such.
    """

    def __call__(self, problem: Problem, start: PyTree, hypers: PyTree) -> Argmin: ...


@jax.custom_vjp
def with_gradient(value: Array, params: PyTree, grads: PyTree) -> Array:
    """`value`, with `grads` for its derivative in `params`: an estimate, say.

    >>> slope = lambda w: with_gradient(w**2, w, jax.numpy.array(7.0))
    >>> float(slope(3.0)), float(jax.grad(slope)(3.0))
    (9.0, 7.0)
    """
    return value


def _forward(value, params, grads):
    return value, (value, grads)


def _backward(kept, g):
    value, grads = kept
    zeros = jax.tree.map(jax.numpy.zeros_like, (value, grads))
    return zeros[0], jax.tree.map(lambda x: (g * x).astype(x.dtype), grads), zeros[1]


with_gradient.defvjp(_forward, _backward)
