"""SNAIL: the support set is a sequence, the query its last element.

Mishra, Rohaninejad, Chen, Abbeel 2018, A Simple Neural Attentive Meta-Learner,
https://arxiv.org/abs/1707.03141.
"""

import math

import jax
import jax.numpy as jnp

from jaxmeta import losses, metrics
from jaxmeta.core import Array, Aux, Batch, Meta, MetaLearner, Model
from jaxmeta.functional.rows import joined
from jaxmeta.functional.sequence import presented
from jaxmeta.models.snail import snail_network


def snail(
    model: Model,
    *,
    filters: int = 128,
    attention: tuple[tuple[int, int], ...] = ((64, 32), (256, 128), (512, 256)),
    dilation: int = 2,
) -> MetaLearner:
    """A simple neural attentive meta-learner: adapting is reading.

        s = [(f(x_1), y_1), ..., (f(x_n), y_n), (f(x_q), 0)]
        p(y_q | x_q, S) = softmax(SNAIL(s)_{n+1})

    Causal attention finds the right example, causal convolutions gather what came
    before. Support examples come in an order drawn from the key. Each query ends a
    sequence of its own and is all that the loss looks at.

    The convolutions are as deep as the support set that `init` sees demands,
    ceil(log2(n + 1)) dense blocks. Other sizes work at test time; the number of ways is
    the length of a label and cannot change.

    Args:
      model: the embedding, `[n, ...] -> [n, d]`.
      filters: channels that each dense block appends.
      attention: key and value sizes of the attention blocks.
      dilation: of the first dense block; 2 in the paper, 1 in WaveNet.

    Returns:
      A `MetaLearner` whose `fast` is the embedded, labelled support sequence.

    Raises:
      ValueError: for bad sizes, or another number of ways than at `init`.

    >>> import jaxmeta as jm
    >>> learner = jm.snail(jm.models.conv4(None))
    """
    for name, value in (("filters", filters), ("dilation", dilation)):
        if value < 1:
            raise ValueError(f"{name}: got {value}, wants an integer >= 1")
    if not attention or min(min(pair) for pair in attention) < 1:
        raise ValueError(f"attention: got {attention}, wants pairs of integers >= 1")
    options = dict(filters=filters, attention=tuple(attention), dilation=dilation)

    def embed(meta: Meta, inputs, **call):
        return model.apply(Meta(meta.params["embedding"], meta.buffers), inputs, **call)

    def answer(params, sequence, real, queries) -> Array:
        """Logits `[q, ways]` of queries `[q, d]`, each after the whole sequence."""
        ways = params["head"]["bias"].shape[0]
        width = params["attention1"]["query"]["kernel"].shape[0]
        network = snail_network(
            width, ways, len(params.get("temporal1", ())), **options
        )

        def one(query):
            last = jnp.concatenate([query, jnp.zeros(ways, query.dtype)])
            inputs = (
                jnp.concatenate([sequence, last[None]]),
                jnp.append(real.astype(query.dtype), 1),
            )
            return network.apply(Meta(params, {}), inputs)[0][-1]

        return jax.vmap(one)(queries)

    def labelled(meta: Meta, batch: Batch) -> Array:
        wants = meta.params["network"]["head"]["bias"].shape[0]
        if batch.targets.shape[-1] != wants:
            raise ValueError(
                f"targets: got {batch.targets.shape[-1]} ways, wants {wants}: "
                "a label is part of SNAIL's input, of a length fixed by init"
            )
        return jnp.concatenate([batch.inputs, batch.targets], -1)

    def init(key, episode):
        first, second = jax.random.split(key)
        inputs, targets = episode.support
        embedding = model.init(first, inputs)
        features = jax.eval_shape(lambda m, x: model.apply(m, x)[0], embedding, inputs)
        n, ways = targets.shape
        width, length = features.shape[-1] + ways, n + 1
        network = snail_network(width, ways, math.ceil(math.log2(length)), **options)
        blank = (jnp.zeros((length, width)), jnp.ones(length))
        params = {
            "embedding": embedding.params,
            "network": network.init(second, blank).params,
        }
        return Meta(params, embedding.buffers)

    def adapt(meta, support, key):
        features, _ = embed(meta, support.inputs)
        batch, real = presented(Batch(features, support.targets), key)
        return labelled(meta, batch), real

    def predict(meta, fast, inputs):
        features, _ = embed(meta, inputs)
        return answer(meta.params["network"], *fast, features)

    def loss(meta, episode, key):
        order, noise = jax.random.split(key)
        support, query = episode
        # one pass of the embedding, so that batch statistics are shared
        both = joined(support, query).inputs
        features, buffers = embed(meta, both, train=True, key=noise)
        n = support.targets.shape[0]
        batch, real = presented(Batch(features[:n], support.targets), order)
        sequence = labelled(meta, batch)
        outputs = answer(meta.params["network"], sequence, real, features[n:])
        value = losses.cross_entropy(outputs, query.targets)
        return value, Aux(metrics.summary(outputs, query.targets), buffers)

    return MetaLearner(init, adapt, predict, loss)
