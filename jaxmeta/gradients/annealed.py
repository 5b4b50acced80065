"""One gradient at first, another from some outer step on, in one compiled program."""

from typing import NamedTuple

from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import PyTree
from jaxmeta.gradients.base import Argmin, Gradient, Problem


class Annealed(NamedTuple):
    """The value that `annealed` makes; its arguments are its attributes."""

    first: Gradient
    then: Gradient
    at: int

    def __call__(self, problem: Problem, start: PyTree, hypers: PyTree) -> Argmin:
        if problem.now is None:
            raise ValueError(f"now: got None, wants the outer step: {self} asks for it")

        def of(gradient):
            # a report would make the two branches differ
            return lambda *given: gradient(problem, *given)._replace(report=None)

        late = problem.now >= self.at
        return lax.cond(late, of(self.then), of(self.first), start, hypers)


def annealed(first: Gradient, then: Gradient, *, at: int) -> Annealed:
    """`first` while the outer step is below `at`, then `then`.

    The step is data, so a whole run is one compiled program, and its early steps do not
    pay for what only the late ones need. Learners count the step in their buffers;
    `argmin` takes it as `now`, which must be one number for all vmapped problems.

    Args:
      first: a gradient.
      then: another.
      at: the outer step from which on `then` is taken, >= 0.

    Returns:
      A gradient.

    Raises:
      ValueError: for a negative `at`.

    References:
      Antoniou et al. 2019, How to train your MAML, arXiv:1810.09502, section 4 (DA).

    >>> from jaxmeta.gradients import first_order, unrolled
    >>> annealed(first_order, unrolled(), at=5000).at
    5000
    """
    at_least(0, at=at)
    return Annealed(first, then, at)
