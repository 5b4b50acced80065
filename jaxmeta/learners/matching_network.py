"""Matching networks: a query takes the labels of the support examples it resembles.

Vinyals, Blundell, Lillicrap, Kavukcuoglu, Wierstra 2016, Matching Networks for One Shot
Learning, https://arxiv.org/abs/1606.04080.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmeta import criteria
from jaxmeta.checks import positive
from jaxmeta.core import Array, Batch, Criterion, Features, Meta, MetaLearner
from jaxmeta.functional.attention import vote
from jaxmeta.functional.distances import cosine_similarity
from jaxmeta.functional.rows import rows_at, weights_of
from jaxmeta.learners.embedding import embed, encoder, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model
from jaxmeta.models.full_context import query_context, support_context


def matching_network(
    model: Features,
    *,
    temperature: float = 0.1,
    learn_temperature: bool = False,
    full_context: bool = False,
    steps: int = 3,
    similarity: Callable[[Array, Array], Array] = cosine_similarity,
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """Matching networks: attention over the support set, labels for values.

        p(y = c | x, S) = sum_i a(x, x_i) [y_i = c]                       (eq. 1)
        a(x, x_i) = softmax_i( cos(f(x), g(x_i)) / T )

    Outputs are log-probabilities, which are logits of themselves. With
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
      criterion: what the queries are judged by, in training and in tests.

    Returns:
      A `MetaLearner` with params `{"model", "head"}`; `fast` is the support set with
      g(x_i), `[n, d]`, for inputs.

    Raises:
      ValueError: if `temperature <= 0` or `steps < 0`.

    >>> import jaxmeta as jm
    >>> learner = jm.matching_network(jm.models.conv4(None), learn_temperature=True)
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    positive(temperature=temperature)
    support_model = support_context()
    query_model = query_context(steps=steps)

    def init(key, episode):
        encoder_key, support_key, query_key = jax.random.split(key, 3)
        base = model.init(encoder_key, episode.support.inputs)
        head = {}
        if learn_temperature:
            f = jax.eval_shape(model.apply, base, episode.support.inputs)[0]
            head["log_temperature"] = jnp.log(jnp.full((), temperature, f.dtype))
        if full_context:
            f = jax.eval_shape(model.apply, base, episode.support.inputs)[0]
            mask = jax.ShapeDtypeStruct(f.shape[:1], f.dtype)
            head["support"] = support_model.init(support_key, (f, mask)).params
            head["query"] = query_model.init(query_key, (f, f, mask)).params
        return base._replace(params={"model": base.params, "head": head})

    def support_set(meta, support: Batch, features, key) -> Batch:
        found = support._replace(inputs=features)
        if not full_context:
            return found
        found = rows_at(found, _order(key, features.shape[0]))
        # an LSTM reads an example or does not: half an example is none of its business
        real = (weights_of(found) > 0).astype(features.dtype)
        g, _ = support_model.apply(
            Meta(meta.params["head"]["support"]), (found.inputs, real)
        )
        return found._replace(inputs=g)

    def classify(meta, matched: Batch, features):
        head = meta.params["head"]
        if full_context:
            real = (weights_of(matched) > 0).astype(features.dtype)
            inputs = (features, matched.inputs, real)
            features, _ = query_model.apply(Meta(head["query"]), inputs)
        t = jnp.exp(head["log_temperature"]) if learn_temperature else temperature
        scores = similarity(features, matched.inputs) / t
        return vote(scores, matched.targets, matched.weights)

    def adapt(meta, support, key):
        features, _ = call(
            model, encoder(meta), support.inputs, weights=support.weights
        )
        return support_set(meta, support, features, key)

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, encoder(meta), inputs, weights=weights)
        return classify(meta, fast, features)

    def loss(meta, episode, key):
        encoder_key, order_key = jax.random.split(key)
        found = embed(model, encoder(meta), episode, encoder_key)
        matched = support_set(meta, episode.support, found.support, order_key)
        outputs = classify(meta, matched, found.query)
        return scored(criterion, outputs, episode, found.buffers)

    return learner_of(init, adapt, predict, loss, criterion)


def _order(key, n):
    # one draw a row, not a permutation of n: padding at the end then reorders nothing
    draws = jax.vmap(lambda i: jax.random.uniform(jax.random.fold_in(key, i)))
    return jnp.argsort(draws(jnp.arange(n)))
