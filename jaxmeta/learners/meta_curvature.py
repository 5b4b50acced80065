"""Meta-Curvature: learn the initialisation, and a linear map of its gradients.

Park, Oliva 2019, Meta-Curvature, https://arxiv.org/abs/1902.03356.
"""

from collections.abc import Callable

import optax

from jaxmeta import criteria, rules
from jaxmeta.core import Criterion, MetaLearner, Model, Rule
from jaxmeta.gradients import Gradient, unrolled
from jaxmeta.learners.inner_loop import QueryWeights
from jaxmeta.learners.maml import maml


def meta_curvature(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int = 5,
    gradient: Gradient = unrolled(),
    adapt_only: Callable[[str], bool] | None = None,
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
    query_weights: QueryWeights | None = None,
) -> MetaLearner:
    """MAML whose gradients are multiplied by learned matrices, mode by mode.

        phi_{k+1} = phi_k - alpha MC(grad L(phi_k; S)),  MC(G) = G x_3 M_f x_2 M_i x_1 M_o

    It is `maml` with the rule `jaxmeta.rules.meta_curvature`. The matrices start as
    identities, where it is MAML itself.

    Args:
      model: the network.
      inner: what receives the transformed gradient; the paper's is SGD of a fixed rate.
      steps: inner steps; 5 on miniImageNet, 1 on Omniglot 5-way as published.
      gradient: as of `maml`; so are all that follow.

    Returns:
      A `MetaLearner`; `Meta.params` are `{"model": theta, "rule": (matrices, ...)}`.

    Raises:
      ValueError: as `maml`.

    >>> import jaxmeta as jm
    >>> learner = jm.meta_curvature(jm.models.mlp(5), optax.sgd(0.1))
    """
    return maml(
        model,
        rules.meta_curvature(inner),
        steps=steps,
        gradient=gradient,
        adapt_only=adapt_only,
        criterion=criterion,
        inner_criterion=inner_criterion,
        inner_batch=inner_batch,
        query_weights=query_weights,
    )
