"""Transformer neural processes: inference as one pass over a set of examples.

Nguyen and Grover 2022, Transformer Neural Processes: Uncertainty-Aware Meta Learning Via
Sequence Modeling, https://arxiv.org/abs/2207.04179: the diagonal form, TNP-D.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import criteria
from jaxmeta.core import Array, Aux, Criterion, MetaLearner, Model
from jaxmeta.functional.gaussian import Gaussian
from jaxmeta.functional.rows import clean_rows, joined_weights, parted
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
from jaxmeta.models.call import check_model
from jaxmeta.models.in_context import in_context
from jaxmeta.signatures import signature_of


class Tokens(NamedTuple):
    """The support set as the transformer reads it.

    Attributes:
      tokens: `[n, d]`.
      weights: `[n]`, or `None`.
      blank: `[c]`, zeros: what a query has in the place of its targets.
    """

    tokens: Array
    weights: Array | None
    blank: Array


def transformer_process(
    encoder: Model,
    decoder: Model,
    *,
    depth: int = 6,
    heads: int = 4,
    expansion: int = 2,
    min_std: float = 0.01,
    criterion: Criterion | Callable = criteria.regression,
) -> NeuralProcess:
    """`tnp`, with its predictive distribution beside the learner.

    Args:
      encoder: as in `tnp`; so are the other arguments.
      decoder: likewise.

    Returns:
      A `NeuralProcess`.

    >>> import jaxmeta as jm
    >>> body, head = jm.models.mlp(None, hidden=(8,)), jm.models.mlp(2, hidden=(8,))
    >>> process = transformer_process(body, head, depth=1)
    >>> episode = jm.tasks.sinusoid()(jax.random.key(0))
    >>> meta = process.learner.init(jax.random.key(1), episode)
    >>> fast = process.learner.adapt(meta, episode.support, jax.random.key(2))
    >>> process.predictive(meta, fast, episode.query.inputs).std.shape
    (10, 1)
    """
    check_model(encoder, "encoder")
    check_model(decoder, "decoder")
    check_min_std(min_std)
    criterion = criteria.as_criterion(criterion)
    blocks = in_context(depth=depth, heads=heads, expansion=expansion)
    models = {"encoder": encoder, "blocks": blocks, "decoder": decoder}

    def asking(inputs, blank: Array) -> Array:
        x = rows_of(inputs)
        return jnp.concatenate([x, jnp.broadcast_to(blank, (len(x), *blank.shape))], -1)

    def believe(run, context: Array, asked: Array, of, weights) -> Gaussian:
        read = run("blocks", (context, of, asked))
        return gaussian_of(run("decoder", read, weights), min_std)

    def predictive(meta, fast, inputs, weights=None) -> Gaussian:
        run, _ = passes(models, meta)
        x = clean_rows(asking(inputs, fast.blank), weights)
        return believe(
            run, fast.tokens, run("encoder", x, weights), fast.weights, weights
        )

    def init(key, episode):
        names = jax.random.split(key, 3)
        inputs, targets, _ = episode.support
        pairs = pairs_of(inputs, targets)
        metas = {"encoder": encoder.init(names[0], pairs)}
        tokens = jnp.zeros((len(pairs), width_of(encoder, metas["encoder"], pairs)))
        metas["blocks"] = blocks.init(names[1], (tokens, None, tokens))
        metas["decoder"] = decoder.init(names[2], tokens)
        check_decoder(decoder, metas["decoder"], tokens, targets)
        return parts(metas)

    def adapt(meta, support, key):
        del key
        inputs, targets, weights = support
        run, _ = passes(models, meta)
        tokens = run("encoder", pairs_of(inputs, targets), weights)
        return Tokens(tokens, weights, jnp.zeros(targets.shape[1:], targets.dtype))

    def predict(meta, fast, inputs, weights=None):
        return predictive(meta, fast, inputs, weights).mean

    def loss(meta, episode, key):
        support, query = episode
        run, gathered = passes(models, meta, True, key)
        given = pairs_of(support.inputs, support.targets)
        asked = asking(query.inputs, jnp.zeros(query.targets.shape[1:], given.dtype))
        both = jnp.concatenate([given, asked])  # one pass: statistics are shared
        tokens = run("encoder", both, joined_weights(support, query))
        context, queries = parted(tokens, len(given))
        belief = believe(run, context, queries, support.weights, query.weights)
        nll, report = reported(criterion, belief, support, query)
        return nll, Aux(report, gathered)

    learner = learner_of(init, adapt, predict, loss, criterion)
    return NeuralProcess(learner, predictive)


@signature_of(transformer_process)
def tnp(*args, **options) -> MetaLearner:
    """A transformer neural process: examples and queries are tokens of one network.

        c_i = h(x_i, y_i),   q_j = h(x_j, 0)
        r_j = Transformer(q_j | c_1, ..., c_n),   m, s = g(r_j)
        p(y_j | x_j, S) = N(m, min_std + (1 - min_std) softplus(s))

    The context looks at itself, queries look at the context, nobody at a query. So the
    context is a set, of any size; queries are independent of one another; memory is
    linear in them. This is TNP-D; the loss is the negative log-likelihood of the
    queries. `predict` returns the means, `transformer_process` gives the standard
    deviations, too.

    Published: 6 blocks of width 64 with 4 heads and perceptrons of 128, an encoder of 4
    layers. Norms stand before attention and perceptron here, after them there: it trains
    without a warm-up. The published deviation is exp(s), without a floor.

    Args:
      encoder: h, `[n, dx + c] -> [n, d]`, of an input and its target, or zeros.
      decoder: g, `[n, d] -> [n, 2 c]`.
      depth: blocks of attention.
      heads: of attention; must divide d.
      expansion: hidden width of the blocks' perceptrons, in units of d.
      min_std: the least standard deviation; below that of the noise.
      criterion: what the means are reported and judged by. It is no loss: the training
        loss is the likelihood.

    Returns:
      A `MetaLearner` whose `fast` are the context's tokens.

    Raises:
      ValueError: for bad options, or a decoder of the wrong width.

    References:
      Nguyen and Grover 2022, arXiv:2207.04179, section 3; the network as in the authors'
      program, where a query does not look at itself either.

    >>> import jaxmeta as jm
    >>> learner = jm.tnp(jm.models.mlp(None, hidden=(64, 64)), jm.models.mlp(2))
    """
    return transformer_process(*args, **options).learner
