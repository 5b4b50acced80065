"""What a learner says of one task, and whether it depends on who else is asked."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmeta.alike import Shared
from jaxmeta.core import (
    Array,
    Batch,
    Criterion,
    Episode,
    Key,
    Meta,
    MetaLearner,
    Scalar,
)
from jaxmeta.criteria import as_criterion
from jaxmeta.functional.rows import clean, takes_weights
from jaxmeta.losses import taken_out


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

    def answer(query: Batch) -> Array:
        return told_weights(learner.predict, meta, fast, query.inputs, query.weights)

    return _moved(*map(answer, _company(episode.query)))


def answering(
    learner: MetaLearner, criterion: Criterion | Callable | None = None
) -> Callable[[Meta, Episode, Key], Array]:
    """`predictions` as one program, for all who look at an episode of a learner.

    To compile it takes longer than to run it a hundred times: what is drawn on a page and
    what is asked here of the queries' company share it.
    """
    criterion = as_criterion(learner.criterion if criterion is None else criterion)

    def answer(meta, episode, key):
        return predictions(learner, meta, episode, key, criterion=criterion)

    more = (learner.predict, criterion)
    return _programs.of(learner.adapt, more, lambda: jax.jit(answer))


_programs = Shared()


def dependence(
    answer: Callable[[Meta, Episode, Key], Array],
    meta: Meta,
    episode: Episode,
    key: Key,
) -> float:
    """`query_dependence`, of what `answering` made: adapts twice, compiles nothing new."""
    said = (
        answer(meta, episode._replace(query=q), key) for q in _company(episode.query)
    )
    return float(_moved(*said))


@jax.jit
def _company(query: Batch) -> tuple[Batch, Batch]:
    """The queries, and as many copies of the first of them that counts."""
    query = clean(query)
    alone = jax.tree.map(lambda x: jnp.broadcast_to(x[:1], x.shape), query.inputs)
    return query, query._replace(inputs=alone)


@jax.jit
def _moved(together: Array, alone: Array) -> Scalar:
    """How far the first answer moved; a class that was taken out is no answer."""
    counts = ~taken_out(together)
    scale = jnp.max(jnp.abs(together), where=counts, initial=1.0)
    moved = jnp.where(counts[0], jnp.abs(alone[0] - together[0]), 0.0)
    return jnp.max(moved) / scale
