"""iMAML: MAML whose gradient is that of the minimum, not of the path to it.

Rajeswaran, Finn, Kakade, Levine 2019, Meta-Learning with Implicit Gradients,
https://arxiv.org/abs/1909.04630.
"""

from collections.abc import Callable

import optax

from jaxmeta import criteria
from jaxmeta.checks import at_least, positive
from jaxmeta.core import Criterion, MetaLearner, Model
from jaxmeta.gradients import Gradient, implicit
from jaxmeta.learners.inner_loop import unrolled_learner
from jaxmeta.learners.maml import network


def imaml(
    model: Model,
    inner: optax.GradientTransformation,
    *,
    steps: int = 16,
    lam: float = 2.0,
    gradient: Gradient = implicit(),
    adapt_only: Callable[[str], bool] | None = None,
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
) -> MetaLearner:
    """Implicit MAML: memory and time of the backward pass do not depend on the steps.

        phi* = argmin_phi L(phi; S) + lam/2 ||phi - theta||^2             (eq. 3)
        meta-gradient = (I + H/lam)^-1 grad L(phi*; Q),  H = grad^2 L(phi*; S)   (eq. 6)

    It is MAML with a proximal term and another gradient. `inner` walks from theta towards
    phi*, and the system is solved by conjugate gradient. Both are approximate, and the
    metrics say how far: "inner_gap" is the inner gradient at the end of the walk relative
    to where it began, "linear_residual" what is left of the system; both should be small.
    Parameters that do not adapt get their gradient through the minimum, too.

    Args:
      model: the network.
      inner: the inner optimiser, for the loss with its proximal term.
      steps: of the walk; 16 on Omniglot 5-way as published.
      lam: strength of the proximal term, positive; 2 on Omniglot as published. Too weak
        a term makes the system indefinite where L is concave.
      gradient: `implicit(solver=..., damping=...)`: conjugate gradient of 5 steps as
        published. The damping is added to `lam` in the system I + H/lam alone: networks
        are concave in some directions, and where L is more concave than `lam` the exact
        system is indefinite. 0 is exact; the authors' program adds 10. Others of `maml`
        differentiate the walk.
      adapt_only: selects, by path, what the inner loop moves; all of it by default.
      criterion: what a task is judged by, see `jaxmeta.criteria`.
      inner_criterion: whose loss the inner loop descends, `criterion` by default.

    Returns:
      A `MetaLearner` whose `fast` are the adapted parameters (the selected ones only).

    Raises:
      ValueError: for bad hyper-parameters.
      TypeError: if `inner` is a learned `Rule`: the minimum does not depend on how it
        was reached.

    >>> import jaxmeta as jm
    >>> learner = jm.imaml(jm.models.mlp(5), optax.sgd(0.1), steps=16, lam=2.0)
    """
    at_least(1, steps=steps)
    positive(lam=lam)
    return unrolled_learner(
        network(model, adapt_only),
        inner,
        steps=steps,
        gradient=gradient,
        criterion=criterion,
        inner_criterion=inner_criterion,
        proximal=lam,
    )
