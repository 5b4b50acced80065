"""What the learners that compare features share: encoding the sets, reporting."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import metrics
from jaxmeta.core import Array, Aux, Episode, Key, Meta, Model, PyTree, Scalar


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
    features, buffers = model.apply(meta, both, train=True, key=key)
    n = episode.support.targets.shape[0]
    return Embedded(features[:n], features[n:], buffers)


def encoder(meta: Meta) -> Meta:
    """The encoder's part of a learner's `{"model": ..., "head": ...}` parameters."""
    return meta._replace(params=meta.params["model"])


def scored(
    loss: Callable[[Array, Array], Scalar],
    outputs: Array,
    targets: Array,
    buffers: PyTree,
    **reported: Scalar,
) -> tuple[Scalar, Aux]:
    """What a learner's `loss` returns, given its outputs for the queries."""
    found = {**metrics.summary(outputs, targets), **reported}
    return loss(outputs, targets), Aux(found, buffers)


def real_rows(targets: Array) -> Array:
    """1 for an example, 0 for a row of padding: `[n]`."""
    return (targets.sum(-1) > 0).astype(targets.dtype)


def positive(**values: float) -> None:
    """Refuses hyper-parameters that are not above zero."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name}: got {value}, wants a positive number")
