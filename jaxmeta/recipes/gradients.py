"""Gradients of the command line: `--gradient NAME`, each with options of its own."""

from typing import Any

from jaxmeta import gradients
from jaxmeta.gradients import Gradient
from jaxmeta.runs.options import OneOf, Use, use


def first_order() -> Gradient:
    """Holds the inner gradients constant: FOMAML."""
    return gradients.first_order


def evolution(*, sigma: float = 0.01, pairs: int = 16, beside: int = 8) -> Gradient:
    """Differentiates nothing: antithetic evolution strategies.

    Args:
      sigma: width of the Gaussian that the loss is smoothed by.
      pairs: pairs of evaluations.
      beside: pairs computed side by side.
    """
    return gradients.evolution(sigma=sigma, pairs=pairs, chunk=beside)


GRADIENTS = {
    "unrolled": gradients.unrolled,
    "first_order": first_order,
    "implicit": gradients.implicit,
    "evolution": evolution,
}
"""Every way to differentiate an inner loop, by name."""

ANY = OneOf(GRADIENTS)


def named(value: Any) -> Use:
    """What a builder's default is called here."""
    return use(next(name for name, make in GRADIENTS.items() if make() == value))
