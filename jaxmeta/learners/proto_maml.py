"""Proto-MAML: MAML whose head starts at the prototypes.

Triantafillou et al. 2020, Meta-Dataset, https://arxiv.org/abs/1903.03096, section 3.
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from jaxmeta import criteria, tree
from jaxmeta.core import Criterion, Features, Meta, MetaLearner, Rule
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.gradients import Gradient, unrolled
from jaxmeta.learners.common import Part
from jaxmeta.learners.inner_loop import QueryWeights, unrolled_learner
from jaxmeta.models.call import check_model
from jaxmeta.models.per_step import PerStep, apply_at, gather


def proto_maml(
    model: Features | PerStep,
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
    """MAML with a linear head that is made of the support set, and then adapted.

        c_k = mean_{i in S_k} f(x_i),   W_k = 2 c_k,   b_k = -||c_k||^2
        phi_0 = (theta, W, b),  phi_{k+1} = phi_k - alpha grad L(phi_k; S)

    The head is a function of theta inside the graph, so the meta-gradient flows through
    it. With `steps=0` it is a prototypical network. No parameter knows the number of
    classes: it is free in every episode. (A rule with a rate for each parameter of the
    head would fix it again; `rules.lslr` does not.)

    Args:
      model: the encoder, `[n, ...] -> [n, d]`.
      inner: the inner optimiser: any Optax transform, or a rule from `jaxmeta.rules`.
      steps: K >= 0.
      gradient: as in `maml`.
      adapt_only: which parameters of the encoder the inner loop moves, by path; all by
        default. The head always adapts.
      criterion: what a task is judged by, see `jaxmeta.criteria`.
      inner_criterion: whose loss the inner loop descends, `criterion` by default.
      inner_batch: support examples a step, drawn anew each step without replacement;
        `None` takes all of them.
      query_weights: as in `maml`.

    Returns:
      A `MetaLearner` whose `fast` is `{"body": adapted encoder, "head": ...}`.

    Raises:
      ValueError: as `maml`.

    >>> import jaxmeta as jm
    >>> learner = jm.proto_maml(jm.models.conv4(None), optax.sgd(0.1))
    """
    check_model(model)

    def split(params):
        return tree.partition(params, adapt_only or (lambda path: True))

    def start(meta, support, train, key):
        f, _ = apply_at(
            model, meta, support.inputs, 0,
            train=train, key=key, weights=support.weights,
        )  # fmt: skip
        c = prototypes(f, support.targets, support.weights)  # [c, d]
        head = {"kernel": 2 * c.T, "bias": -jnp.sum(jnp.square(c), -1)}
        return {"body": split(meta.params)[0], "head": head}

    def apply(meta, phi, inputs, step, train, key, weights):
        full = Meta(tree.combine(phi["body"], split(meta.params)[1]), meta.buffers)
        f, buffers = apply_at(
            model, full, inputs, step, train=train, key=key, weights=weights
        )
        return f @ phi["head"]["kernel"] + phi["head"]["bias"], buffers

    per_step = gather if isinstance(model, PerStep) else None
    return unrolled_learner(
        Part(model.init, start, apply, per_step, shares=adapt_only is not None),
        inner,
        steps=steps,
        gradient=gradient,
        criterion=criterion,
        inner_criterion=inner_criterion,
        inner_batch=inner_batch,
        query_weights=query_weights,
    )
