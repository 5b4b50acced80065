"""Tip-Adapter: the support set as a cache that is asked, beside a classifier's scores.

Zhang et al. 2022, Tip-Adapter: Training-free Adaption of CLIP for Few-shot
Classification, https://arxiv.org/abs/2111.03930.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from jaxmeta import criteria, tree
from jaxmeta.checks import positive
from jaxmeta.core import Array, Criterion, Features, MetaLearner
from jaxmeta.functional.distances import unit
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.learners.embedding import embed, encoder, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model


class Cache(NamedTuple):
    """What is kept of a support set.

    Attributes:
      keys: F, its features, each of length 1, `[n, d]`.
      values: L, its labels times its weights, `[n, c]`.
      means: the normalised class means, `[c, d]`.
    """

    keys: Array
    values: Array
    means: Array


def tip_adapter(
    model: Features,
    *,
    alpha: float = 1.0,
    beta: float = 5.5,
    scale: float = 10.0,
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """Tip-Adapter: nothing is fitted; similar support examples add to a class's score.

        outputs = scale f W + alpha exp(-beta (1 - f F^T)) L        (eqs. 4 and 5)

    with f the query's feature and F those of the support, all of length 1, and L the
    support's labels. The paper's W are CLIP's texts of the class names; here there are
    pictures alone, and W are the class means, of length 1: with `alpha` = 0 it is a
    cosine classifier, and with a large `beta` nearly the nearest neighbour. alpha, beta
    and scale (as their logarithms) are learned where the learner is trained.

    Args:
      model: the encoder, `[n, ...] -> [n, d]`.
      alpha: where alpha starts, > 0: how much the cache says beside the means.
      beta: where beta starts, > 0: how near an example must be to be heard.
      scale: where the means' scale starts, > 0; CLIP's is 100.
      criterion: what the queries are judged by, in training and in tests.

    Returns:
      A `MetaLearner` with params `{"model", "head"}`, whose `fast` is a `Cache`.

    Raises:
      ValueError: for numbers that are not positive.

    >>> import jaxmeta as jm
    >>> learner = jm.tip_adapter(jm.models.flat())
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    positive(alpha=alpha, beta=beta, scale=scale)

    def init(key, episode):
        base = model.init(key, episode.support.inputs)
        dtype = tree.dtype_of(base.params)
        starts = {"log_alpha": alpha, "log_beta": beta, "log_scale": scale}
        head = {name: jnp.log(jnp.full((), x, dtype)) for name, x in starts.items()}
        return base._replace(params={"model": base.params, "head": head})

    def remember(features, support) -> Cache:
        keys, values = unit(features), support.targets
        means = unit(prototypes(keys, values, support.weights))
        if support.weights is not None:
            values = values * support.weights[:, None]
        return Cache(keys, values, means)

    def classify(meta, cache: Cache, features):
        head = {name: jnp.exp(x) for name, x in meta.params["head"].items()}
        f = unit(features)
        near = jnp.exp(-head["log_beta"] * (1 - f @ cache.keys.T))
        said = head["log_alpha"] * (near @ cache.values)
        return head["log_scale"] * (f @ cache.means.T) + said

    def adapt(meta, support, key):
        features, _ = call(
            model, encoder(meta), support.inputs, weights=support.weights
        )
        return remember(features, support)

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, encoder(meta), inputs, weights=weights)
        return classify(meta, fast, features)

    def loss(meta, episode, key):
        found = embed(model, encoder(meta), episode, key)
        fast = remember(found.support, episode.support)
        outputs = classify(meta, fast, found.query)
        return scored(criterion, outputs, episode, found.buffers)

    return learner_of(init, adapt, predict, loss, criterion)
