"""What the learners that compare features share: encoding the sets, reporting."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.core import (
    Array,
    Aux,
    Batch,
    Criterion,
    Episode,
    Key,
    Meta,
    Model,
    PyTree,
    Scalar,
)
from jaxmeta.functional.rows import joined_weights
from jaxmeta.models.call import call


class Embedded(NamedTuple):
    """An episode in feature space.

    Attributes:
      support: `[n, ...]`.
      query: `[m, ...]`.
      buffers: the encoder's new buffers.
    """

    support: Array
    query: Array
    buffers: PyTree


def embed(model: Model, meta: Meta, episode: Episode, key: Key) -> Embedded:
    """Encodes support and query as one training batch: they share batch statistics."""
    both = jax.tree.map(
        lambda s, q: jnp.concatenate([s, q]),
        episode.support.inputs,
        episode.query.inputs,
    )
    features, buffers = call(
        model, meta, both, weights=joined_weights(*episode), train=True, key=key
    )
    n = episode.support.targets.shape[0]
    return Embedded(features[:n], features[n:], buffers)


def encoder(meta: Meta) -> Meta:
    """The encoder's part of a learner's `{"model": ..., "head": ...}` parameters."""
    return meta._replace(params=meta.params["model"])


def scored(
    criterion: Criterion,
    outputs: Array,
    episode: Episode,
    buffers: PyTree,
    **reported: Scalar,
) -> tuple[Scalar, Aux]:
    """What a learner's `loss` returns, given its outputs for the queries."""
    value, found = judged(criterion, outputs, episode.support, episode.query)
    return value, Aux({**found, **reported}, buffers)


def judged(
    criterion: Criterion, outputs: Array, support: Batch, asked: Batch
) -> tuple[Scalar, dict[str, Scalar]]:
    """The loss and the metrics of outputs for `asked`, after learning from `support`."""
    outputs = criterion.prepare(outputs, support)
    against = (outputs, asked.targets, asked.weights)
    return criterion.loss(*against), criterion.metrics(*against)
