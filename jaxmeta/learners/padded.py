"""What every learner does about its batches, done once around it."""

import functools

import jax.numpy as jnp

from jaxmeta.core import Batch, Criterion, Episode, MetaLearner
from jaxmeta.functional.rows import clean, clean_rows


def learner_of(init, adapt, predict, loss, criterion: Criterion) -> MetaLearner:
    """A `MetaLearner` that never sees what rows of weight 0 hold, nor labels by number.

    Args:
      init: as of a `MetaLearner`; so are `adapt` and `loss`.
      adapt: likewise.
      predict: likewise, and it takes `weights=None`.
      loss: likewise.
      criterion: what the learner's queries are judged by.

    Returns:
      A `MetaLearner`. Its functions raise `TypeError` for targets that are no floating
      point.
    """

    @functools.wraps(adapt)
    def clean_adapt(meta, support, key):
        return adapt(meta, _ready(support), key)

    @functools.wraps(predict)
    def clean_predict(meta, fast, inputs, *, weights=None):
        if weights is None:
            return predict(meta, fast, inputs)
        return predict(meta, fast, clean_rows(inputs, weights), weights=weights)

    @functools.wraps(loss)
    def clean_loss(meta, episode, key):
        return loss(meta, Episode(*map(_ready, episode)), key)

    @functools.wraps(init)
    def clean_init(key, episode):
        return init(key, Episode(*map(_ready, episode)))

    return MetaLearner(clean_init, clean_adapt, clean_predict, clean_loss, criterion)


def _ready(batch: Batch) -> Batch:
    dtype = jnp.result_type(batch.targets)
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"targets: got {dtype} {list(jnp.shape(batch.targets))}, wants floating-point "
            "rows: Batch.of_labels(inputs, labels, ways) makes them of class numbers"
        )
    return clean(batch)
