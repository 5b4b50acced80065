"""What every learner does about rows that do not count, done once around it."""

import functools

from jaxmeta.core import Criterion, Episode, MetaLearner
from jaxmeta.functional.rows import clean, clean_rows


def learner_of(init, adapt, predict, loss, criterion: Criterion) -> MetaLearner:
    """A `MetaLearner` that never sees what rows of weight 0 hold.

    Args:
      init: as of a `MetaLearner`; so are `adapt` and `loss`.
      adapt: likewise.
      predict: likewise, and it takes `weights=None`.
      loss: likewise.
      criterion: what the learner's queries are judged by.

    Returns:
      A `MetaLearner`.
    """

    @functools.wraps(adapt)
    def clean_adapt(meta, support, key):
        return adapt(meta, clean(support), key)

    @functools.wraps(predict)
    def clean_predict(meta, fast, inputs, *, weights=None):
        if weights is None:
            return predict(meta, fast, inputs)
        return predict(meta, fast, clean_rows(inputs, weights), weights=weights)

    @functools.wraps(loss)
    def clean_loss(meta, episode, key):
        return loss(meta, Episode(*map(clean, episode)), key)

    @functools.wraps(init)
    def clean_init(key, episode):
        return init(key, Episode(*map(clean, episode)))

    return MetaLearner(clean_init, clean_adapt, clean_predict, clean_loss, criterion)
