"""SNAIL: the support set is a sequence, the query its last element.

Mishra, Rohaninejad, Chen, Abbeel 2018, A Simple Neural Attentive Meta-Learner,
https://arxiv.org/abs/1707.03141.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmeta import criteria
from jaxmeta.checks import at_least
from jaxmeta.core import Array, Batch, Criterion, Features, Meta, MetaLearner
from jaxmeta.functional.sequence import presented
from jaxmeta.learners.embedding import embed, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model
from jaxmeta.models.snail import Past, SnailNetwork, snail_network


def snail(
    model: Features,
    *,
    filters: int = 128,
    attention: tuple[tuple[int, int], ...] = ((64, 32), (256, 128), (512, 256)),
    dilation: int = 2,
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """A simple neural attentive meta-learner: adapting is reading.

        s = [(f(x_1), y_1), ..., (f(x_n), y_n), (f(x_q), 0)]
        p(y_q | x_q, S) = softmax(SNAIL(s)_{n+1})

    Causal attention finds the right example, causal convolutions gather what came
    before. Support examples come in an order drawn from the key. Each query ends a
    sequence of its own and is all that the loss looks at; what the support set leaves
    behind, it is read once for, and each query costs the work of one element.

    Support examples of weight 0 are passed by. A sequence has no half examples: any
    other weight is 1. Those of queries count in the loss as they are.

    The convolutions are as deep as the support set that `init` sees demands,
    ceil(log2(n + 1)) dense blocks. Other sizes work at test time; the number of ways is
    the length of a label and cannot change.

    Args:
      model: the embedding, `[n, ...] -> [n, d]`.
      filters: channels that each dense block appends.
      attention: key and value sizes of the attention blocks.
      dilation: of the first dense block; 2 in the paper, 1 in WaveNet.
      criterion: what the queries are judged by, in training and in tests.

    Returns:
      A `MetaLearner` whose `fast` is what the support sequence leaves behind: keys and
      values of the attention, and the convolutions' tails, a `models.snail.Past`.

    Raises:
      ValueError: for bad sizes, or another number of ways than at `init`.

    >>> import jaxmeta as jm
    >>> learner = jm.snail(jm.models.conv4(None))
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    at_least(1, filters=filters, dilation=dilation)
    if not attention or min(min(pair) for pair in attention) < 1:
        raise ValueError(f"attention: got {attention}, wants pairs of integers >= 1")
    options = dict(filters=filters, attention=tuple(attention), dilation=dilation)

    def embedding(meta: Meta) -> Meta:
        return meta._replace(params=meta.params["embedding"])

    def network(params) -> SnailNetwork:
        ways = params["head"]["bias"].shape[0]
        width = params["attention1"]["query"]["kernel"].shape[0]
        return snail_network(width, ways, len(params.get("temporal1", ())), **options)

    def read(meta: Meta, batch: Batch, key) -> Past:
        """Presents embedded examples in an order drawn from the key."""
        params = meta.params["network"]
        wants = params["head"]["bias"].shape[0]
        if batch.targets.shape[-1] != wants:
            raise ValueError(
                f"targets: got {batch.targets.shape[-1]} ways, wants {wants}: "
                "a label is part of SNAIL's input, of a length fixed by init"
            )
        batch, real = presented(batch, key)
        sequence = jnp.concatenate([batch.inputs, batch.targets], -1)
        inputs = (sequence, real.astype(sequence.dtype))
        return network(params).past.apply(Meta(params, {}), inputs)[0]

    def answer(meta: Meta, past: Past, queries) -> Array:
        """Logits `[q, ways]` of queries `[q, d]`, each after the whole sequence."""
        params = meta.params["network"]
        ways = params["head"]["bias"].shape[0]
        blank = jnp.zeros((queries.shape[0], ways), queries.dtype)
        inputs = (past, jnp.concatenate([queries, blank], -1))
        return network(params).after.apply(Meta(params, {}), inputs)[0]

    def init(key, episode):
        first, second = jax.random.split(key)
        inputs, targets = episode.support.inputs, episode.support.targets
        start = model.init(first, inputs)
        features = jax.eval_shape(lambda m, x: model.apply(m, x)[0], start, inputs)
        n, ways = targets.shape
        width, length = features.shape[-1] + ways, n + 1
        made = snail_network(width, ways, math.ceil(math.log2(length)), **options)
        blank = (jnp.zeros((length, width)), jnp.ones(length))
        params = {
            "embedding": start.params,
            "network": made.along.init(second, blank).params,
        }
        return Meta(params, start.buffers)

    def adapt(meta, support, key):
        features, _ = call(
            model, embedding(meta), support.inputs, weights=support.weights
        )
        return read(meta, support._replace(inputs=features), key)

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, embedding(meta), inputs, weights=weights)
        return answer(meta, fast, features)

    def loss(meta, episode, key):
        order, noise = jax.random.split(key)
        # one pass of the embedding, so that batch statistics are shared
        found = embed(model, embedding(meta), episode, noise)
        past = read(meta, episode.support._replace(inputs=found.support), order)
        outputs = answer(meta, past, found.query)
        return scored(criterion, outputs, episode, found.buffers)

    return learner_of(init, adapt, predict, loss, criterion)
