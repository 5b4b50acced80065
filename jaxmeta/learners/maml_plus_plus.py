"""MAML++: MAML made stable, as parts that each work alone.

Antoniou, Edwards, Storkey 2019, How to train your MAML,
https://arxiv.org/abs/1810.09502.
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp

from jaxmeta import criteria, rules
from jaxmeta.checks import at_least, one_of
from jaxmeta.core import Array, Criterion, MetaLearner, Model
from jaxmeta.gradients import Gradient, annealed, first_order, unrolled
from jaxmeta.learners.maml import maml
from jaxmeta.models.per_step import is_norm, per_step


def multi_step_weights(
    steps: int,
    *,
    epochs: int = 15,
    epoch: int = 500,
    afterwards: Literal["floor", "last"] = "floor",
) -> Callable[[Array], Array]:
    """The weights of MAML++'s multi-step loss, from uniform to the last step alone.

        w_k = max(1/K - e/(K M), 0.03/K)  for k < K,   w_K = 1 - sum_{k<K} w_k

    with e the epoch, M the epochs of annealing and K the steps.

    Args:
      steps: K.
      epochs: M.
      epoch: outer steps an epoch.
      afterwards: from epoch M on, "floor" keeps the smallest weights, as the formula
        says; "last" sets them to 0, as the published code does, which saves their query
        passes.

    Returns:
      `outer step -> [K]`, for `query_weights` of `maml`; sums to 1.

    Raises:
      ValueError: if a size is below 1, or for an unknown `afterwards`.

    References:
      Antoniou et al. 2019, arXiv:1810.09502, section 4, MSL.

    >>> [round(float(w), 5) for w in multi_step_weights(5)(jnp.array(500.0))]
    [0.18667, 0.18667, 0.18667, 0.18667, 0.25333]
    """
    at_least(1, steps=steps, epochs=epochs, epoch=epoch)
    one_of(("floor", "last"), afterwards=afterwards)

    def weights(t):
        e = jnp.floor(t / epoch)
        early = jnp.maximum(1 / steps - e / (steps * epochs), 0.03 / steps)
        if afterwards == "last":
            early = jnp.where(e < epochs, early, 0.0)
        rest = jnp.full((steps - 1,), early)
        return jnp.append(rest, 1 - (steps - 1) * early)

    return weights


def maml_plus_plus(
    model: Model,
    *,
    steps: int = 5,
    init_rate: float = 0.1,
    sets: int | None = None,
    epoch: int = 500,
    multi_step_epochs: int = 15,
    first_order_epochs: int = 50,
    gradient: Gradient = unrolled(),
    per_step_norm: bool = True,
    norms: Callable[[str], bool] = is_norm,
    adapt_only: Callable[[str], bool] | None = None,
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
) -> MetaLearner:
    """MAML++: five remedies for MAML's instability in one builder.

        phi_{k+1} = phi_k - alpha_{l,k} grad_l L(phi_k; S)     learned rates (LSLR)
        loss = sum_k w_k(t) L(phi_k; Q)                        multi-step loss (MSL)
        first order for t < t_DA, then second                  annealing (DA)
        a norm's statistics, scale and bias for each k         (BNRS, BNWB)

    Each is a part of its own: `rules.lslr`, `query_weights=multi_step_weights(...)`,
    `gradient=annealed(first_order, unrolled(), at=t_DA)`, `models.per_step(...)`. The
    sixth, the cosine annealing of the outer rate, is the outer optimiser's: Adam from
    1e-3 down by `optax.cosine_decay_schedule`. Norms are meta-learned but not adapted, as in the
    published code.

    Args:
      model: the network; with `norm="batch"`, predictions are transductive, as
        published; `norm="batch_running"` gathers statistics for every step.
      steps: inner steps K.
      init_rate: where all rates start.
      sets: steps with rates and norms of their own; K by default. To test with more
        steps than in training, build again with other `steps` and the same `sets`.
      epoch: outer steps an epoch; 500 as published.
      multi_step_epochs: epochs in which the multi-step loss is annealed; 0 is never.
      first_order_epochs: epochs of first-order gradients; 50 of the paper's 100; 0 is
        second order throughout.
      gradient: the one that follows them, as of `maml`.
      per_step_norm: a norm for every step; false leaves the model as it is.
      norms: which parameters are those of norms, by path, as `select` of `per_step`.
      adapt_only: what the inner loop moves, by path; all but norms by default.
      criterion: what a task is judged by, see `jaxmeta.criteria`.
      inner_criterion: whose loss the inner loop descends, `criterion` by default.
      inner_batch: support examples a step, drawn anew each step without replacement;
        `None` takes all of them.

    Returns:
      A `MetaLearner`; `Meta.buffers` hold the outer step, see `maml`.

    Raises:
      ValueError: as `maml` and the parts.

    >>> import jaxmeta as jm
    >>> learner = jm.maml_plus_plus(jm.models.conv4(5, filters=8), steps=3)
    """
    if first_order_epochs < 0 or multi_step_epochs < 0:
        raise ValueError(
            f"first_order_epochs, multi_step_epochs: got {first_order_epochs}, "
            f"{multi_step_epochs}, wants integers >= 0"
        )
    sets = max(steps, 1) if sets is None else sets
    weights = None
    if multi_step_epochs:
        # zero steps have no weights, but the same `Meta`: the outer step is in it
        weights = (
            multi_step_weights(
                steps, epochs=multi_step_epochs, epoch=epoch, afterwards="last"
            )
            if steps
            else lambda t: jnp.zeros(0)
        )
    if first_order_epochs:
        at = first_order_epochs * epoch
        gradient = annealed(first_order, gradient, at=at)
    return maml(
        per_step(model, sets, select=norms) if per_step_norm else model,
        rules.lslr(init_rate, steps=sets),
        steps=steps,
        gradient=gradient,
        adapt_only=adapt_only or (lambda path: not norms(path)),
        criterion=criterion,
        inner_criterion=inner_criterion,
        inner_batch=inner_batch,
        query_weights=weights,
    )
