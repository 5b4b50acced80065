"""What every learner does about its batches, done once around it."""

import functools

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxmeta.core import Array, Batch, Criterion, Episode, MetaLearner
from jaxmeta.functional.rows import clean, clean_rows


def learner_of(
    init, adapt, predict, loss, criterion: Criterion, *, places: bool = False
) -> MetaLearner:
    """A `MetaLearner` that never sees what rows of weight 0 hold, nor labels by number.

    Args:
      init: as of a `MetaLearner`; so are `adapt` and `loss`.
      adapt: likewise.
      predict: likewise, and it takes `weights=None`.
      loss: likewise.
      criterion: what the learner's queries are judged by.
      places: whether targets may have more axes than `[n, c]`: those of a learner that
        compares whole examples may not.

    Returns:
      A `MetaLearner`. Its functions raise `TypeError` for targets that are no floating
      point, and `ValueError` for targets or weights of a shape that does not fit.
    """

    def ready(batch: Batch) -> Batch:
        return clean(checked(batch, places))

    @functools.wraps(adapt)
    def clean_adapt(meta, support, key):
        return adapt(meta, ready(support), key)

    @functools.wraps(predict)
    def clean_predict(meta, fast, inputs, *, weights=None):
        if weights is None:
            return predict(meta, fast, inputs)
        return predict(meta, fast, clean_rows(inputs, weights), weights=weights)

    @functools.wraps(loss)
    def clean_loss(meta, episode, key):
        return loss(meta, Episode(*map(ready, episode)), key)

    @functools.wraps(init)
    def clean_init(key, episode):
        return init(key, Episode(*map(ready, episode)))

    return MetaLearner(clean_init, clean_adapt, clean_predict, clean_loss, criterion)


def checked(batch: Batch, places: bool) -> Batch:
    """The batch, if its targets and weights are such as a learner can use."""
    dtype, shape = jnp.result_type(batch.targets), jnp.shape(batch.targets)
    if not jnp.issubdtype(dtype, jnp.floating):
        rows = "Batch.of_labels(inputs, labels, ways) makes them of class numbers"
        how = rows if len(shape) < 2 else f"{rows}, .astype(float) of one-hot rows"
        raise TypeError(
            f"targets: got {dtype} {list(shape)}, wants floating-point rows: {how}"
        )
    if len(shape) < 2 or (len(shape) > 2 and not places):
        raise ValueError(
            f"targets: got shape {list(shape)}, wants [n, c]"
            + ": this learner knows one answer an example" * (len(shape) > 2)
        )
    if batch.weights is None:
        return batch
    weights = jnp.asarray(batch.weights)
    fits = 0 < weights.ndim < len(shape) and weights.shape == shape[: weights.ndim]
    if not fits or (weights.ndim > 1 and not places):
        raise ValueError(
            f"weights: got shape {list(weights.shape)}, wants [{shape[0]}], one for each "
            "example"
        )
    _check_values(batch.weights)
    return batch._replace(weights=weights)


def _check_values(weights: Array) -> None:
    if isinstance(weights, Tracer):
        return
    known = np.asarray(weights)  # by NumPy: constants of a compiled function, too
    if not np.all(known >= 0):
        raise ValueError(f"weights: got {known.min()}, wants numbers >= 0")
