"""Conditional neural processes: regression that says how sure it is.

Garnelo et al. 2018, Conditional Neural Processes, https://arxiv.org/abs/1807.01613.
Attention over the context: Kim et al. 2019, Attentive Neural Processes,
https://arxiv.org/abs/1901.05761 (its two paths, both without noise).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import criteria
from jaxmeta.checks import one_of
from jaxmeta.core import Array, Aux, Criterion, MetaLearner, Model
from jaxmeta.functional.causal import attention_weights
from jaxmeta.functional.gaussian import Gaussian, gaussian_nll
from jaxmeta.functional.rows import clean_rows, joined, parted
from jaxmeta.learners.padded import learner_of
from jaxmeta.learners.processes import (
    NeuralProcess,
    check_decoder,
    check_min_std,
    gaussian_of,
    pairs_of,
    parts,
    passes,
    reported,
    rows_of,
    width_of,
)
from jaxmeta.losses import weighted_mean
from jaxmeta.models.adapter import from_nnx_for
from jaxmeta.models.attention import CrossAttention
from jaxmeta.models.call import check_model
from jaxmeta.models.flat import flat
from jaxmeta.signatures import signature_of

Attention = Literal["none", "dot", "multihead"]


class Context(NamedTuple):
    """The support set as attention reads it.

    Attributes:
      keys: `[n, dk]`.
      values: `[n, d]`.
      weights: `[n]`, or `None`.
      summary: `[d]`, the mean of the values, which every query sees; or `None`.
    """

    keys: Array
    values: Array
    weights: Array | None
    summary: Array | None = None


def neural_process(
    encoder: Model,
    decoder: Model,
    *,
    attention: Attention = "none",
    keys: Model | None = None,
    heads: int = 8,
    summary: bool = True,
    min_std: float = 0.1,
    predict_support: bool = True,
    criterion: Criterion | Callable = criteria.regression,
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
    check_model(encoder, "encoder")
    check_model(decoder, "decoder")
    criterion = criteria.as_criterion(criterion)
    one_of(("none", "dot", "multihead"), attention=attention)
    if keys is not None and attention == "none":
        raise ValueError('keys: got a model, wants None where attention is "none"')
    check_min_std(min_std)
    keys = flat() if keys is None else keys
    models = {"encoder": encoder, "decoder": decoder, "keys": keys}

    def looking(rngs, x):
        queries, keys, values = (a.shape[-1] for a in x[:3])
        return CrossAttention(queries, keys, values, heads, rngs=rngs)

    models["attention"] = from_nnx_for(looking)

    def encode(run, support, looks):
        """What is kept of the context: r `[d]`, or keys and values `[n, d]`."""
        pairs = pairs_of(support.inputs, support.targets)
        values = run("encoder", pairs, support.weights)
        mean = weighted_mean(values, support.weights)
        if attention == "none":
            return mean
        return Context(looks, values, support.weights, mean if summary else None)

    def believe(run, fast, x, looks, weights) -> Gaussian:
        """The prediction for inputs `[q, dx]` whose queries are `looks`."""
        if attention == "none":
            seen = jnp.broadcast_to(fast, (x.shape[0], *fast.shape))
        elif attention == "dot":
            chosen = attention_weights(looks, fast.keys, weights=fast.weights)
            seen = chosen @ fast.values
        else:
            seen = run("attention", (looks, *fast[:3]))
        if attention != "none" and summary:
            whole = jnp.broadcast_to(fast.summary, (x.shape[0], *fast.summary.shape))
            seen = jnp.concatenate([seen, whole], -1)
        decoded = run("decoder", jnp.concatenate([x, seen], -1), weights)
        return gaussian_of(decoded, min_std)

    def look(run, x, weights):
        """Queries of inputs, or keys of the context: one network."""
        return None if attention == "none" else run("keys", x, weights)

    def predictive(meta, fast, inputs, weights=None) -> Gaussian:
        run, _ = passes(models, meta)
        x = clean_rows(rows_of(inputs), weights)
        return believe(run, fast, x, look(run, x, weights), weights)

    def init(key, episode):
        names = jax.random.split(key, 4)
        (inputs, targets, _), n = episode.support, episode.support.targets.shape[0]
        x, pairs = rows_of(inputs), pairs_of(inputs, targets)
        metas = {"encoder": encoder.init(names[0], pairs)}
        d = width_of(encoder, metas["encoder"], pairs)
        if attention != "none":
            metas["keys"] = keys.init(names[1], x)
            looks = jnp.zeros((n, width_of(keys, metas["keys"], x)))
        if attention == "multihead":
            blank = (looks, looks, jnp.zeros((n, d)), None)
            metas["attention"] = models["attention"].init(names[2], blank)
        both = attention != "none" and summary
        seen = jnp.zeros((n, x.shape[-1] + (2 * d if both else d)))
        metas["decoder"] = decoder.init(names[3], seen)
        check_decoder(decoder, metas["decoder"], seen, targets)
        return parts(metas)

    def adapt(meta, support, key):
        del key
        run, _ = passes(models, meta)
        looks = look(run, rows_of(support.inputs), support.weights)
        return encode(run, support, looks)

    def predict(meta, fast, inputs, weights=None):
        return predictive(meta, fast, inputs, weights).mean

    def loss(meta, episode, key):
        support, query = episode
        run, gathered = passes(models, meta, True, key)
        both, n = joined(support, query), support.targets.shape[0]
        x = rows_of(both.inputs)
        looks = look(run, x, both.weights)  # one pass: statistics are shared
        fast = encode(run, support, None if looks is None else parted(looks, n)[0])
        belief = believe(run, fast, x, looks, both.weights)
        asked = jax.tree.map(lambda a: parted(a, n)[1], belief)
        nll, report = reported(criterion, asked, support, query)
        value = nll
        if predict_support:
            value = gaussian_nll(belief, both.targets, both.weights)
        return value, Aux(report, gathered)

    learner = learner_of(init, adapt, predict, loss, criterion)
    return NeuralProcess(learner, predictive)


@signature_of(neural_process)
def cnp(*args, **options) -> MetaLearner:
    """A conditional neural process: a set of examples in, a distribution out.

        r_i = h(x_i, y_i),   r_* = mean_i r_i    or   sum_i softmax_i(k(x_*) . k(x_i)) r_i
        m, s = g(x_*, r_*),   p(y_* | x_*, S) = N(m, min_std + (1 - min_std) softplus(s))

    The mean treats all examples alike; attention lets each query look at the examples
    near it, which ends the underfitting at the examples themselves. `predict` returns
    the mean; `neural_process` also gives the standard deviation. The training loss is
    the negative log-likelihood; what `criterion` says of the means, "nll" and the
    "coverage" of the central 90 % band over the query are reported.

    Any number of examples will do, in any order; one of weight 2 is two of them.

    Args:
      encoder: h, `[n, dx + c] -> [n, d]`, of an input and its target, concatenated.
      decoder: g, `[n, dx + d] -> [n, 2 c]`; `[n, dx + 2 d]` with a summary.
      attention: "none" is the mean of Garnelo et al.; "dot" and "multihead" are Kim et
        al.'s cross-attention.
      keys: k, `[n, dx] -> [n, dk]`, for attention; by default the inputs themselves.
      heads: for "multihead"; must divide d.
      summary: whether, with attention, every query sees the mean as well, as the second
        path of Kim et al. shows it the whole context: what attention reads is local, and
        what all examples say together (an amplitude, a phase) is not.
      min_std: the least standard deviation; 0.1 as published. Where targets have no
        noise it decides the calibration: take it well below the errors left.
      predict_support: whether the loss counts the support's own targets too, as
        published.
      criterion: what the means are reported and judged by. It is no loss: the training
        loss is the likelihood.

    Returns:
      A `MetaLearner` whose `fast` is r `[d]`, or a `Context` of keys and values.

    Raises:
      ValueError: for bad options, or a decoder of the wrong width.

    >>> import jaxmeta as jm
    >>> learner = jm.cnp(jm.models.mlp(None, hidden=(64, 64)), jm.models.mlp(2))
    """
    return neural_process(*args, **options).learner
