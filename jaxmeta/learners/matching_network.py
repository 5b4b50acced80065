"""Matching networks: a query takes the labels of the support examples it resembles.

Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra 2016, Matching Networks for One Shot
Learning, https://arxiv.org/abs/1606.04080.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import losses
from jaxmeta.core import Array, Meta, MetaLearner, Model
from jaxmeta.functional.attention import vote
from jaxmeta.functional.distances import cosine_similarity
from jaxmeta.learners.embedding import embed, encoder, positive, real_rows, scored
from jaxmeta.models.full_context import query_context, support_context


class Matched(NamedTuple):
    """The support set as `predict` reads it.

    Attributes:
      features: g(x_i), `[n, d]`.
      targets: one-hot labels `[n, c]`.
    """

    features: Array
    targets: Array


def matching_network(
    model: Model,
    *,
    temperature: float = 0.1,
    learn_temperature: bool = False,
    full_context: bool = False,
    steps: int = 3,
    similarity: Callable[[Array, Array], Array] = cosine_similarity,
) -> MetaLearner:
    """Matching networks: attention over the support set, labels for values.

        p(y = c | x, S) = sum_i a(x, x_i) [y_i = c]                       (eq. 1)
        a(x, x_i) = softmax_i( cos(f(x), g(x_i)) / T )

    Outputs are log-probabilities, and the loss is their negative log-likelihood. With
    T = 1 as published, cosines are nearly flat logits: 5-way 1-shot loss cannot fall
    below log(1 + 4 e^-2) = 0.43. Hence T = 0.1, or a learned T.

    With full-context embeddings g reads the whole support set (a bidirectional LSTM)
    and f attends to it (`steps` steps of another LSTM). That g depends on the order of
    the set, so the order is drawn from the key, in training and in `adapt`.

    Args:
      model: the encoder f' = g', `[n, ...] -> [n, d]`.
      temperature: T > 0, or where a learned one starts.
      learn_temperature: moves log T with the outer optimiser.
      full_context: embed each example in the context of its support set.
      steps: attention steps of the query's LSTM, >= 0.
      similarity: `([m, d], [n, d]) -> [m, n]`.

    Returns:
      A `MetaLearner` with params `{"model", "head"}`; `fast` are g and the labels.

    Raises:
      ValueError: if `temperature <= 0` or `steps < 0`.

    >>> import jaxmeta as jm
    >>> learner = jm.matching_network(jm.models.conv4(None), learn_temperature=True)
    """
    positive(temperature=temperature)
    support_model = support_context()
    query_model = query_context(steps=steps)

    def init(key, episode):
        encoder_key, support_key, query_key = jax.random.split(key, 3)
        base = model.init(encoder_key, episode.support.inputs)
        head = {}
        if learn_temperature:
            head["log_temperature"] = jnp.log(jnp.asarray(temperature))
        if full_context:
            f = jax.eval_shape(model.apply, base, episode.support.inputs)[0]
            mask = jax.ShapeDtypeStruct(f.shape[:1], f.dtype)
            head["support"] = support_model.init(support_key, (f, mask)).params
            head["query"] = query_model.init(query_key, (f, f, mask)).params
        return base._replace(params={"model": base.params, "head": head})

    def support_set(meta, features, targets, key) -> Matched:
        if not full_context:
            return Matched(features, targets)
        order = _order(key, targets.shape[0])
        features, targets = features[order], targets[order]
        g, _ = support_model.apply(
            Meta(meta.params["head"]["support"]), (features, real_rows(targets))
        )
        return Matched(g, targets)

    def classify(meta, matched: Matched, features):
        head = meta.params["head"]
        if full_context:
            mask = real_rows(matched.targets)
            inputs = (features, matched.features, mask)
            features, _ = query_model.apply(Meta(head["query"]), inputs)
        t = jnp.exp(head["log_temperature"]) if learn_temperature else temperature
        return vote(similarity(features, matched.features) / t, matched.targets)

    def adapt(meta, support, key):
        features, _ = model.apply(encoder(meta), support.inputs)
        return support_set(meta, features, support.targets, key)

    def predict(meta, fast, inputs):
        features, _ = model.apply(encoder(meta), inputs)
        return classify(meta, fast, features)

    def loss(meta, episode, key):
        encoder_key, order_key = jax.random.split(key)
        found = embed(model, encoder(meta), episode, encoder_key)
        targets = episode.support.targets
        matched = support_set(meta, found.support, targets, order_key)
        outputs = classify(meta, matched, found.query)
        return scored(losses.nll, outputs, episode.query.targets, found.buffers)

    return MetaLearner(init, adapt, predict, loss)


def _order(key, n):
    # one draw a row, not a permutation of n: padding at the end then reorders nothing
    draws = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))
    return jnp.argsort(draws(jnp.arange(n)))
