"""Relation networks: learn the comparison too.

Sung, Yang, Zhang, Xiang, Torr, Hospedales 2018, Learning to Compare: Relation Network for
Few-Shot Learning, https://arxiv.org/abs/1711.06025.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import criteria
from jaxmeta.core import (
    Array,
    Criterion,
    Features,
    Key,
    Meta,
    MetaLearner,
    Model,
    PyTree,
    Scalar,
)
from jaxmeta.learners.embedding import embed, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.losses import (
    check_same_shape,
    present_classes,
    real_only,
    taken_out,
    weighted_mean,
)
from jaxmeta.models.call import call, check_model
from jaxmeta.models.relation import AllPairs, PairModel
from jaxmeta.models.relation import relation as relation_module


def pair_mse(scores: Array, targets: Array, weights: Array | None = None) -> Scalar:
    """Mean squared error over the pairs of a class and a query.

    L = sum_i w_i sum_c (r_ic - t_ic)^2 / (sum_i w_i c),   c: classes not taken out
    """
    check_same_shape(scores, targets)
    scores = real_only(scores, weights)
    out = taken_out(scores)
    error = jnp.where(out, 0, jnp.square(jnp.where(out, 0, scores) - targets))
    return weighted_mean(error.sum(-1) / jnp.maximum((~out).sum(-1), 1), weights)


relation_scores = Criterion(
    pair_mse, criteria.classification.metrics, criteria.classification.prepare
)
"""Classification by scores in (0, 1), one a pair: squared error, as published."""


class ClassSums(NamedTuple):
    """The support set as `predict` reads it.

    Attributes:
      sums: the sum of each class's feature maps, `[c, ...]`.
      present: which classes have an example, `[c]`; `None` where the support set has no
        padding: all have.
    """

    sums: Array
    present: Array | None


def relation_network(
    model: Features,
    *,
    relation: Model | None = None,
    criterion: Criterion | Callable = relation_scores,
) -> MetaLearner:
    """Relation networks: a network scores every pair of a class and a query.

        F_c = sum_{i in S_c} f(x_i)                       a sum, not a mean
        r_c(x) = sigmoid(g([F_c, f(x)]))                                  (eqs. 1, 2)
        L = mean_{x, c} (r_c(x) - [y = c])^2              over all pairs  (eq. 3)

    The encoder should give feature maps: `conv4(None, flatten=False, pools=2)`. Because
    of the sum, scores mean most at the number of shots that was trained for.

    Args:
      model: the encoder f, `[n, ...] -> [n, h, w, d]` (or vectors `[n, d]`).
      relation: the relation module g, from pairs with `2 d` channels to `[m]`;
        `jaxmeta.models.relation()` by default. Its batch statistics are taken over all
        pairs of an episode, so it makes predictions transductive.
      criterion: what the scores are judged by; as published, their squared error.

    Returns:
      A `MetaLearner` with params (and buffers) `{"model", "relation"}`, whose `fast` are
      the class sums `[c, h, w, d]`, and whose outputs are scores in (0, 1).

    >>> import jaxmeta as jm
    >>> learner = jm.relation_network(jm.models.conv4(None, flatten=False, pools=2))
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    g = relation_module() if relation is None else relation

    def init(key, episode):
        model_key, relation_key = jax.random.split(key)
        base = model.init(model_key, episode.support.inputs)
        maps = jax.eval_shape(model.apply, base, episode.support.inputs)[0]
        shape = (1, *maps.shape[1:-1], 2 * maps.shape[-1])
        head = g.init(relation_key, jax.ShapeDtypeStruct(shape, maps.dtype))
        return Meta(
            *({"model": a, "relation": b} for a, b in zip(base, head, strict=True))
        )

    def part(meta: Meta, name: str) -> Meta:
        return Meta(meta.params[name], meta.buffers[name])

    def scores(meta, fast: ClassSums, maps, weights, train=False, key=None):
        head, pairs = part(meta, "relation"), None
        if fast.present is not None or weights is not None:
            pairs = pair_weights(fast, maps, weights)
        z, buffers = relate(g, head, fast.sums, maps, pairs, train=train, key=key)
        return jax.nn.sigmoid(z), buffers

    def summed(maps, support):
        sums, present = class_sums(maps, support.targets, support.weights), None
        if support.weights is not None:
            present = present_classes(support.targets, support.weights)
        return ClassSums(sums, present)

    def adapt(meta, support, key):
        maps, _ = call(
            model, part(meta, "model"), support.inputs, weights=support.weights
        )
        return summed(maps, support)

    def predict(meta, fast, inputs, weights=None):
        maps, _ = call(model, part(meta, "model"), inputs, weights=weights)
        return scores(meta, fast, maps, weights)[0]

    def loss(meta, episode, key):
        model_key, relation_key = jax.random.split(key)
        found = embed(model, part(meta, "model"), episode, model_key)
        fast = summed(found.support, episode.support)
        outputs, buffers = scores(
            meta, fast, found.query, episode.query.weights, True, relation_key
        )
        both = {"model": found.buffers, "relation": buffers}
        return scored(criterion, outputs, episode, both)

    return learner_of(init, adapt, predict, loss, criterion)


def pair_weights(fast: ClassSums, maps: Array, weights: Array | None) -> Array:
    """How much each pair counts in batch statistics, `[q * c]`: not at all without both."""
    classes = jnp.ones(len(fast.sums)) if fast.present is None else fast.present
    queries = jnp.ones(len(maps)) if weights is None else weights
    return (queries[:, None] * classes).astype(maps.dtype).ravel()


def relate(
    relation: Model,
    meta: Meta,
    sums: Array,
    maps: Array,
    weights: Array | None = None,
    *,
    train: bool,
    key: Key | None,
) -> tuple[Array, PyTree]:
    """What the relation module says of every pair: z `[q, c]` for `q` maps, and buffers.

    Its sigmoid is the relation score. `weights` are those of the pairs, `[q * c]`.
    """
    c, q = sums.shape[0], maps.shape[0]
    if isinstance(relation, PairModel):
        pairs = AllPairs(sums, maps)
    else:
        shape = (q, c, *maps.shape[1:])
        pairs = jnp.concatenate(
            [jnp.broadcast_to(sums, shape), jnp.broadcast_to(maps[:, None], shape)], -1
        )
        pairs = pairs.reshape(q * c, *pairs.shape[2:])
    z, buffers = call(relation, meta, pairs, weights=weights, train=train, key=key)
    return z.reshape(q, c), buffers


def class_sums(maps: Array, targets: Array, weights: Array | None = None) -> Array:
    """The sum of each class's feature maps: `[n, ...], [n, c], [n] -> [c, ...]`."""
    if weights is not None:
        targets = targets * weights[:, None]
    return jnp.tensordot(targets, maps, axes=(0, 0))
