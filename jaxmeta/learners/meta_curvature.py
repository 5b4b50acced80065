"""Meta-Curvature: learn the initialisation, and a linear map of its gradients.

Park, Oliva 2019, Meta-Curvature, https://arxiv.org/abs/1902.03356.
"""

import optax

from jaxmeta import rules
from jaxmeta.core import MetaLearner, Model, Rule
from jaxmeta.learners.maml import maml


def meta_curvature(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int = 5,
    **maml_options,
) -> MetaLearner:
    """MAML whose gradients are multiplied by learned matrices, mode by mode.

        phi_{k+1} = phi_k - alpha MC(grad L(phi_k; S)),  MC(G) = G x_3 M_f x_2 M_i x_1 M_o

    It is `maml` with the rule `jaxmeta.rules.meta_curvature`. The matrices start as
    identities, where it is MAML itself.

    Args:
      model: the network.
      inner: what receives the transformed gradient; the paper's is SGD of a fixed rate.
      steps: inner steps; 5 on miniImageNet, 1 on Omniglot 5-way as published.
      **maml_options: as for `maml`.

    Returns:
      A `MetaLearner`; `Meta.params` are `{"model": theta, "rule": (matrices, ...)}`.

    Raises:
      ValueError: as `maml`.

    >>> import jaxmeta as jm
    >>> learner = jm.meta_curvature(jm.models.mlp(5), optax.sgd(0.1))
    """
    return maml(model, rules.meta_curvature(inner), steps=steps, **maml_options)
