"""Meta-SGD: learn the initialisation, and every parameter's learning rate.

Li, Zhou, Chen, Li 2017, Meta-SGD: Learning to Learn Quickly for Few-Shot Learning,
https://arxiv.org/abs/1707.09835.
"""

from collections.abc import Callable

from jaxmeta import criteria, rules
from jaxmeta.core import Criterion, MetaLearner, Model
from jaxmeta.gradients import Gradient, unrolled
from jaxmeta.learners.inner_loop import QueryWeights
from jaxmeta.learners.maml import maml
from jaxmeta.rules.spaces import Space


def meta_sgd(
    model: Model,
    *,
    init_rate: float = 0.01,
    space: Space = "raw",
    steps: int = 1,
    gradient: Gradient = unrolled(),
    adapt_only: Callable[[str], bool] | None = None,
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    query_weights: QueryWeights | None = None,
) -> MetaLearner:
    """MAML whose inner rates are learned, one a parameter.

        phi = theta - alpha o grad L(theta; S)                          (eq. 3)
        min_{theta, alpha}  E_task L(phi; Q)                            (eq. 4)

    It is `maml` with the rule `jaxmeta.rules.meta_sgd`; with the rates held constant
    (`rules.frozen`) it is MAML itself.

    Args:
      model: the network.
      init_rate: where all the rates start; the paper draws them from U(0.005, 0.1).
      space: "raw" as published: rates may become negative; "exp" keeps them positive.
      steps: inner steps; 1 as published.
      gradient: as of `maml`; so are all that follow.

    Returns:
      A `MetaLearner`; `Meta.params` are `{"model": theta, "rule": alpha}`.

    Raises:
      ValueError: as `maml` and `rules.meta_sgd`.

    >>> import jaxmeta as jm
    >>> learner = jm.meta_sgd(jm.models.mlp(5), init_rate=0.1)
    """
    rule = rules.meta_sgd(init_rate, space=space)
    return maml(
        model,
        rule,
        steps=steps,
        gradient=gradient,
        adapt_only=adapt_only,
        criterion=criterion,
        inner_criterion=inner_criterion,
        inner_batch=inner_batch,
        query_weights=query_weights,
    )
