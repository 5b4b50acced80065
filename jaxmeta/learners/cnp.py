"""Conditional neural processes: regression that says how sure it is.

Garnelo et al. 2018, Conditional Neural Processes, https://arxiv.org/abs/1807.01613.
Attention over the context: Kim et al. 2019, Attentive Neural Processes,
https://arxiv.org/abs/1901.05761 (its deterministic path).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import losses
from jaxmeta.core import Array, Aux, Meta, MetaLearner, Model, PyTree
from jaxmeta.functional.causal import attention_weights
from jaxmeta.functional.gaussian import Gaussian, coverage, gaussian_nll
from jaxmeta.functional.rows import joined
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.attention import CrossAttention
from jaxmeta.models.flat import flat

Attention = Literal["none", "dot", "multihead"]


class NeuralProcess(NamedTuple):
    """A neural process, as a learner and as what it predicts.

    Attributes:
      learner: the `MetaLearner`; its `predict` returns means.
      predictive: `(meta, fast, inputs) -> Gaussian`, mean and standard deviation
        `[n, c]`.
    """

    learner: MetaLearner
    predictive: Callable[[Meta, PyTree, PyTree], Gaussian]


def neural_process(
    encoder: Model,
    decoder: Model,
    *,
    attention: Attention = "none",
    keys: Model | None = None,
    heads: int = 8,
    min_std: float = 0.1,
    predict_support: bool = True,
) -> NeuralProcess:
    """`cnp`, with its predictive distribution beside the learner.

    Args:
      encoder: as in `cnp`; so are the other arguments.
      decoder: likewise.

    Returns:
      A `NeuralProcess`.

    >>> import jaxmeta as jm
    >>> body, head = jm.models.mlp(None, hidden=(8,)), jm.models.mlp(2, hidden=(8,))
    >>> process, episode = neural_process(body, head), jm.tasks.sinusoid()(jax.random.key(0))
    >>> meta = process.learner.init(jax.random.key(1), episode)
    >>> fast = process.learner.adapt(meta, episode.support, jax.random.key(2))
    >>> process.predictive(meta, fast, episode.query.inputs).std.shape
    (10, 1)
    """
    if attention not in ("none", "dot", "multihead"):
        raise ValueError(
            f'attention: got {attention!r}, wants "none", "dot" or "multihead"'
        )
    if keys is not None and attention == "none":
        raise ValueError('keys: got a model, wants None where attention is "none"')
    if min_std <= 0:
        raise ValueError(f"min_std: got {min_std}, wants a number > 0")
    keys = flat() if keys is None else keys
    models = {"encoder": encoder, "decoder": decoder, "keys": keys}
    models["attention"] = from_nnx_for(
        lambda rngs, x: CrossAttention(*(a.shape[-1] for a in x), heads, rngs=rngs)
    )

    def call(meta: Meta, name: str, inputs):
        here = Meta(meta.params[name], meta.buffers[name])
        return models[name].apply(here, inputs)[0]

    def encode(meta, support):
        """What is kept of the context: r `[d]`, or keys and values `[n, d]`."""
        pairs = jnp.concatenate([_rows(support.inputs), support.targets], -1)
        values = call(meta, "encoder", pairs)
        if attention == "none":
            return values.mean(0)
        return call(meta, "keys", _rows(support.inputs)), values

    def read(meta, fast, x):
        """The representation that each query sees, `[q, d]`."""
        if attention == "none":
            return jnp.broadcast_to(fast, (x.shape[0], *fast.shape))
        queries = call(meta, "keys", x)
        if attention == "dot":
            return attention_weights(queries, fast[0]) @ fast[1]
        return call(meta, "attention", (queries, *fast))

    def predictive(meta, fast, inputs) -> Gaussian:
        x = _rows(inputs)
        decoded = call(meta, "decoder", jnp.concatenate([x, read(meta, fast, x)], -1))
        mean, raw = jnp.split(decoded, 2, -1)
        return Gaussian(mean, min_std + (1 - min_std) * jax.nn.softplus(raw))

    def init(key, episode):
        names = jax.random.split(key, 4)
        (inputs, targets), n = episode.support, episode.support.targets.shape[0]
        x = _rows(inputs)
        metas = {"encoder": encoder.init(names[0], jnp.concatenate([x, targets], -1))}

        def width(name, inputs):
            out = jax.eval_shape(lambda: models[name].apply(metas[name], inputs)[0])
            return out.shape[-1]

        d = width("encoder", jnp.concatenate([x, targets], -1))
        if attention != "none":
            metas["keys"] = keys.init(names[1], x)
            looks = jnp.zeros((n, width("keys", x)))
        if attention == "multihead":
            triple = (looks, looks, jnp.zeros((n, d)))
            metas["attention"] = models["attention"].init(names[2], triple)
        seen = jnp.zeros((n, x.shape[-1] + d))
        metas["decoder"] = decoder.init(names[3], seen)
        wants = 2 * targets.shape[-1]
        if width("decoder", seen) != wants:
            raise ValueError(
                f"decoder: got {width('decoder', seen)} outputs, wants {wants}: "
                "a mean and a standard deviation for each target"
            )
        return Meta(
            {name: meta.params for name, meta in metas.items()},
            {name: meta.buffers for name, meta in metas.items()},
        )

    def adapt(meta, support, key):
        del key
        return encode(meta, support)

    def predict(meta, fast, inputs):
        return predictive(meta, fast, inputs).mean

    def loss(meta, episode, key):
        del key
        support, query = episode
        inputs, targets = joined(support, query)
        both = predictive(meta, encode(meta, support), inputs)
        asked = jax.tree.map(lambda a: a[support.targets.shape[0] :], both)
        metrics = {
            "mse": losses.mse(asked.mean, query.targets),
            "nll": gaussian_nll(asked, query.targets),
            "coverage": coverage(asked, query.targets),
        }
        value = gaussian_nll(both, targets) if predict_support else metrics["nll"]
        return value, Aux(metrics)

    return NeuralProcess(MetaLearner(init, adapt, predict, loss), predictive)


def _rows(inputs: Array) -> Array:
    """`[n, ...]` as `[n, d]`."""
    return inputs.reshape(inputs.shape[0], -1)


def cnp(
    encoder: Model,
    decoder: Model,
    *,
    attention: Attention = "none",
    keys: Model | None = None,
    heads: int = 8,
    min_std: float = 0.1,
    predict_support: bool = True,
) -> MetaLearner:
    """A conditional neural process: a set of examples in, a distribution out.

        r_i = h(x_i, y_i),   r_* = mean_i r_i    or   sum_i softmax_i(k(x_*) . k(x_i)) r_i
        m, s = g(x_*, r_*),   p(y_* | x_*, S) = N(m, min_std + (1 - min_std) softplus(s))

    The mean treats all examples alike; attention lets each query look at the examples
    near it, which ends the underfitting at the examples themselves. `predict` returns
    the mean; `neural_process` also gives the standard deviation. The training loss is
    the negative log-likelihood, with "mse", "nll" and the "coverage" of the central
    90 % band over the query reported.

    Any number of examples will do, in any order.

    Args:
      encoder: h, `[n, dx + c] -> [n, d]`, of an input and its target, concatenated.
      decoder: g, `[n, dx + d] -> [n, 2 c]`.
      attention: "none" is the mean of Garnelo et al.; "dot" and "multihead" are Kim et
        al.'s cross-attention.
      keys: k, `[n, dx] -> [n, dk]`, for attention; by default the inputs themselves.
      heads: for "multihead"; must divide d.
      min_std: the least standard deviation; 0.1 as published. Where targets have no
        noise it decides the calibration: take it well below the errors left.
      predict_support: whether the loss counts the support's own targets too, as
        published.

    Returns:
      A `MetaLearner` whose `fast` is r `[d]`, or keys and values `[n, d]`.

    Raises:
      ValueError: for bad options, or a decoder of the wrong width.

    >>> import jaxmeta as jm
    >>> learner = jm.cnp(jm.models.mlp(None, hidden=(64, 64)), jm.models.mlp(2))
    """
    return neural_process(
        encoder,
        decoder,
        attention=attention,
        keys=keys,
        heads=heads,
        min_std=min_std,
        predict_support=predict_support,
    ).learner
