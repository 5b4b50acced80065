"""How to differentiate, on the command line: `--gradient NAME` wherever a learner takes one."""

from typing import Any, Literal

from jaxmeta import gradients
from jaxmeta.gradients import Gradient
from jaxmeta.runs.options import CHOICES, OneOf, Use, use


def unrolled(
    *,
    memory: Literal["store", "remat", "sqrt", "mixed"] = "store",
    last: int | None = None,
) -> Gradient:
    """Through the inner steps: exact.

    Args:
      memory: what the backward pass keeps; all give the same gradient.
      last: only the last so many inner gradients are differentiated; None: all.
    """
    return gradients.unrolled(memory=memory, last=last)


def first_order() -> Gradient:
    """The inner gradients held constant."""
    return gradients.first_order


def annealed(*, second_from: int = 1000) -> Gradient:
    """First order to begin with, then through the inner steps.

    Args:
      second_from: the outer step from which on it is exact.
    """
    first, then = gradients.first_order, gradients.unrolled()
    return gradients.annealed(first, then, at=second_from)


def implicit(
    *,
    solver: Literal["cg", "neumann", "direct"] = "cg",
    solver_steps: int = 5,
    damping: float = 0.0,
) -> Gradient:
    """That of a minimum; the path to it does not matter.

    Args:
      solver: of the linear system.
      solver_steps: its steps; direct has none.
      damping: added to the curvature; 0 is exact.
    """
    solvers = {
        "cg": lambda: gradients.cg(steps=solver_steps),
        "neumann": lambda: gradients.neumann(steps=solver_steps),
        "direct": gradients.direct,
    }
    return gradients.implicit(solver=solvers[solver](), damping=damping)


def evolution(*, sigma: float = 0.01, pairs: int = 16) -> Gradient:
    """An estimate from forward passes alone.

    Args:
      sigma: standard deviation of the perturbations.
      pairs: antithetic pairs of them.
    """
    return gradients.evolution(sigma=sigma, pairs=pairs)


GRADIENTS = {
    f.__name__: f for f in (unrolled, first_order, annealed, implicit, evolution)
}
"""Every way to differentiate by name."""


def _used(value: Any) -> Use:
    """A builder's default, as a choice."""
    if isinstance(value, gradients.Implicit):
        return use("implicit", damping=value.damping)
    if value == gradients.first_order:
        return use("first_order")
    return use("unrolled", memory=value.memory, last=value.last)


CHOICES[Gradient] = OneOf(GRADIENTS, call=True, used=_used)
