"""What a learner says of one task, and whether it depends on who else is asked."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Criterion, Episode, Key, Meta, MetaLearner, Scalar
from jaxmeta.criteria import as_criterion
from jaxmeta.functional.rows import clean, takes_weights


def predictions(
    learner: MetaLearner,
    meta: Meta,
    episode: Episode,
    key: Key,
    *,
    criterion: Criterion | Callable | None = None,
) -> Array:
    """Adapts to the support set and predicts the query set: `[n, ...]`.

    What the support set rules out is taken out, as the criterion says: classes without
    a support example are never predicted.

    Args:
      learner: the method.
      meta: its parameters.
      episode: one task.
      key: for `adapt`.
      criterion: the learner's own by default.

    Returns:
      Its outputs for the queries.
    """
    fast = learner.adapt(meta, episode.support, key)
    criterion = as_criterion(learner.criterion if criterion is None else criterion)
    return predicted(learner, criterion, meta, fast, episode)


def predicted(learner, criterion, meta, fast, episode: Episode) -> Array:
    query = episode.query
    outputs = told_weights(learner.predict, meta, fast, query.inputs, query.weights)
    return criterion.prepare(outputs, episode.support)


def told_weights(predict: Callable, meta, fast, inputs, weights):
    """`predict`, or what a learner believes, told the weights if it takes them."""
    if weights is not None and takes_weights(predict):
        return predict(meta, fast, inputs, weights=weights)
    return predict(meta, fast, inputs)


def query_dependence(
    learner: MetaLearner, meta: Meta, episode: Episode, key: Key
) -> Scalar:
    """How far predictions of a query move when all other queries change.

        max_c | f(q_1 | q_1, q_2, ..., q_n)_c - f(q_1 | q_1, q_1, ..., q_1)_c |

    Args:
      learner: the method.
      meta: its parameters.
      episode: one task with at least two different queries.
      key: for `adapt`.

    Returns:
      A scalar: rounding error for an inductive learner, far more for a transductive
      one (batch statistics over the query set, say); NaN where predictions are.
    """
    fast = learner.adapt(meta, episode.support, key)
    query = clean(episode.query)  # so that the first row is one that counts
    alone = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), query.inputs)
    apart = told_weights(learner.predict, meta, fast, alone, query.weights)[0]
    together = told_weights(learner.predict, meta, fast, query.inputs, query.weights)[0]
    scale = jnp.maximum(1.0, jnp.max(jnp.abs(together)))
    return jnp.max(jnp.abs(apart - together)) / scale
