"""Convolutional conditional neural processes: what is learned here holds there, too.

Gordon et al. 2020, Convolutional Conditional Neural Processes,
https://arxiv.org/abs/1910.13556, for inputs that are single numbers.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import criteria
from jaxmeta.checks import positive
from jaxmeta.core import Array, Aux, Criterion, Meta, MetaLearner, Model
from jaxmeta.functional.gaussian import Gaussian
from jaxmeta.functional.rows import clean_rows, weights_of
from jaxmeta.learners.padded import learner_of
from jaxmeta.learners.processes import (
    NeuralProcess,
    check_decoder,
    check_min_std,
    gaussian_of,
    parts,
    passes,
    reported,
    rows_of,
    width_of,
)
from jaxmeta.losses import weighted_mean
from jaxmeta.models.call import check_model
from jaxmeta.models.on_grid import on_grid
from jaxmeta.signatures import signature_of


class OnGrid(NamedTuple):
    """The support set as a function on a grid.

    Attributes:
      centre: where the middle of the grid is, a scalar.
      values: `[g, d]`.
    """

    centre: Array
    values: Array


def convolutional_process(
    encoder: Model,
    decoder: Model,
    *,
    reach: float = 4.5,
    density: int = 16,
    filters: int = 64,
    depth: int = 6,
    taps: int = 5,
    min_std: float = 0.01,
    criterion: Criterion | Callable = criteria.regression,
) -> NeuralProcess:
    """`conv_cnp`, with its predictive distribution beside the learner.

    Args:
      encoder: as in `conv_cnp`; so are the other arguments.
      decoder: likewise.

    Returns:
      A `NeuralProcess`.

    >>> import jaxmeta as jm
    >>> body, head = jm.models.mlp(None, hidden=(8,)), jm.models.mlp(2, hidden=(8,))
    >>> process = convolutional_process(body, head, reach=9.0, density=2, depth=2)
    >>> episode = jm.tasks.sinusoid()(jax.random.key(0))
    >>> meta = process.learner.init(jax.random.key(1), episode)
    >>> fast = process.learner.adapt(meta, episode.support, jax.random.key(2))
    >>> process.predictive(meta, fast, episode.query.inputs).std.shape
    (10, 1)
    """
    check_model(encoder, "encoder")
    check_model(decoder, "decoder")
    check_min_std(min_std)
    positive(reach=reach, density=density)
    criterion = criteria.as_criterion(criterion)
    network = on_grid(filters=filters, depth=depth, taps=taps)
    models = {"encoder": encoder, "network": network, "decoder": decoder}
    points = 2 * math.ceil(reach * density) + 1

    def grid(dtype) -> Array:
        """Places about the centre, `[g]`."""
        return (jnp.arange(points, dtype=dtype) - points // 2) / density

    def laid_out(lengths, support) -> tuple[Array, Array]:
        """The centre, and density and data channels `[g, 1 + c]`."""
        inputs, targets, weights = support
        x = rows_of(inputs)[:, 0]
        centre = weighted_mean(x, weights)
        near = _bump(grid(x.dtype)[:, None] - (x - centre), lengths["in"])
        near = near * weights_of(support)
        there = near.sum(1, keepdims=True)
        return centre, jnp.concatenate([there, near @ targets / (there + 1e-5)], -1)

    def spread(run, lengths, support) -> OnGrid:
        centre, channels = laid_out(lengths, support)
        return OnGrid(centre, run("network", run("encoder", channels)))

    def believe(run, lengths, fast: OnGrid, inputs, weights) -> Gaussian:
        x = rows_of(inputs)[:, 0]
        places = grid(x.dtype)
        near = _bump((x - fast.centre)[:, None] - places, lengths["out"])
        # a mean over the grid where there is one, and nothing beyond it
        near = near / (density * jnp.exp(lengths["out"]) * math.sqrt(2 * math.pi))
        return gaussian_of(run("decoder", near @ fast.values, weights), min_std)

    def predictive(meta, fast, inputs, weights=None) -> Gaussian:
        run, _ = passes(models, meta)
        inputs = clean_rows(inputs, weights)
        return believe(run, meta.params["lengths"], fast, inputs, weights)

    def init(key, episode):
        names = jax.random.split(key, 3)
        support = episode.support
        if (size := rows_of(support.inputs).shape[-1]) != 1:
            raise ValueError(f"inputs: got {size} numbers an example, wants 1: a line")
        start = jnp.asarray(math.log(2 / density), support.targets.dtype)
        lengths = {"in": start, "out": start}
        _, channels = laid_out(lengths, support)
        metas = {"encoder": encoder.init(names[0], channels)}
        seen = jnp.zeros((points, width_of(encoder, metas["encoder"], channels)))
        metas["network"] = network.init(names[1], seen)
        read = jnp.zeros((len(support.targets), filters))
        metas["decoder"] = decoder.init(names[2], read)
        check_decoder(decoder, metas["decoder"], read, support.targets)
        return parts(metas | {"lengths": Meta(lengths)})

    def adapt(meta, support, key):
        del key
        run, _ = passes(models, meta)
        return spread(run, meta.params["lengths"], support)

    def predict(meta, fast, inputs, weights=None):
        return predictive(meta, fast, inputs, weights).mean

    def loss(meta, episode, key):
        support, query = episode
        run, gathered = passes(models, meta, True, key)
        lengths = meta.params["lengths"]
        fast = spread(run, lengths, support)
        belief = believe(run, lengths, fast, query.inputs, query.weights)
        nll, report = reported(criterion, belief, support, query)
        return nll, Aux(report, gathered)

    learner = learner_of(init, adapt, predict, loss, criterion)
    return NeuralProcess(learner, predictive)


def _bump(apart: Array, log_length: Array) -> Array:
    """A Gaussian of height 1, its width a learned parameter."""
    return jnp.exp(-0.5 * jnp.square(apart / jnp.exp(log_length)))


@signature_of(convolutional_process)
def conv_cnp(*args, **options) -> MetaLearner:
    """A neural process that shifts its prediction where the examples are shifted.

        d(g) = sum_i k(g - x_i),   v(g) = sum_i y_i k(g - x_i) / d(g)
        f = CNN(h(d, v)),   r_j = sum_g k'(x_j - g) f(g),   m, s = decoder(r_j)
        p(y_j | x_j, S) = N(m, min_std + (1 - min_std) softplus(s))

    Examples are spread over a grid by a set convolution, with a channel that says where
    there are any; the grid is read at the queries by another. Only differences of places
    enter, and the grid lies about the mean of the context, so a shift of context and
    queries by any distance changes nothing: the network is translation-equivariant by
    construction, and what it learned on one interval holds on another.

    Inputs are single numbers. The network's convolutions are dilated, in place of the
    paper's plain ones and of its U-Net, to see far with few layers.

    Args:
      encoder: h, `[g, 1 + c] -> [g, d]`, point by point.
      decoder: `[n, filters] -> [n, 2 c]`.
      reach: how far the grid goes to either side of the context's mean, in units of the
        inputs; beyond it a query sees nothing.
      density: grid points a unit. Two points of context that are nearer than a grid step
        are not told apart.
      filters: of the convolutions.
      depth: layers.
      taps: points that a convolution reads; odd.
      min_std: the least standard deviation; below that of the noise.
      criterion: what the means are reported and judged by. It is no loss: the training
        loss is the likelihood of the queries.

    Returns:
      A `MetaLearner` whose `fast` is the function on the grid.

    Raises:
      ValueError: for bad options, inputs of several numbers, or a decoder of the wrong
        width.

    References:
      Gordon et al. 2020, arXiv:1910.13556, algorithm 1 and appendix A.

    >>> import jaxmeta as jm
    >>> learner = jm.conv_cnp(jm.models.mlp(None, hidden=(64,)), jm.models.mlp(2))
    """
    return convolutional_process(*args, **options).learner
