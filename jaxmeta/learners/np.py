"""Latent neural processes: a whole function from one draw.

Garnelo et al. 2018, Neural Processes, https://arxiv.org/abs/1807.01622.
Every target under the loss, the context's too: Kim et al. 2019, Attentive Neural
Processes, https://arxiv.org/abs/1901.05761. The importance-weighted bound, and the form of
the deviation: as in the program of Nguyen and Grover 2022, https://arxiv.org/abs/2207.04179.
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import criteria
from jaxmeta.checks import at_least, one_of
from jaxmeta.core import Array, Aux, Criterion, MetaLearner, Model
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.gaussian import Gaussian, kl_divergence, log_prob
from jaxmeta.functional.predictive import Predictive
from jaxmeta.functional.rows import clean_rows, joined, parted, weights_of
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.padded import learner_of
from jaxmeta.learners.probabilistic import Probabilistic
from jaxmeta.learners.processes import (
    check_decoder,
    check_min_std,
    gaussian_of,
    pairs_of,
    parts,
    passes,
    rows_of,
    width_of,
)
from jaxmeta.losses import weighted_mean
from jaxmeta.models.call import check_model
from jaxmeta.models.mlp import mlp
from jaxmeta.signatures import signature_of

Bound = Literal["elbo", "importance"]


class Draws(NamedTuple):
    """What is believed of a function, and functions drawn from it.

    Attributes:
      belief: of z, `[dz]`.
      drawn: `[samples, dz]`.
    """

    belief: Gaussian
    drawn: Array


def latent_process(
    encoder: Model,
    decoder: Model,
    *,
    latent: int = 32,
    bound: Bound = "elbo",
    train_samples: int = 1,
    samples: int = 32,
    predict_support: bool = True,
    min_std: float = 0.1,
    criterion: Criterion | Callable = criteria.regression,
) -> Probabilistic:
    """`np`, with its predictive distribution beside the learner.

    Args:
      encoder: as in `np`; so are the other arguments.
      decoder: likewise.

    Returns:
      A `Probabilistic`; its prediction has a member for each draw.

    >>> import jaxmeta as jm
    >>> body, head = jm.models.mlp(None, hidden=(8,)), jm.models.mlp(2, hidden=(8,))
    >>> process = latent_process(body, head, samples=3)
    >>> episode = jm.tasks.sinusoid()(jax.random.key(0))
    >>> meta = process.learner.init(jax.random.key(1), episode)
    >>> fast = process.learner.adapt(meta, episode.support, jax.random.key(2))
    >>> process.predictive(meta, fast, episode.query.inputs).std.shape
    (3, 10, 1)
    """
    check_model(encoder, "encoder")
    check_model(decoder, "decoder")
    check_min_std(min_std)
    one_of(("elbo", "importance"), bound=bound)
    at_least(1, latent=latent, train_samples=train_samples, samples=samples)
    criterion = criteria.as_criterion(criterion)
    middle = mlp(2 * latent, hidden=(2 * latent,))
    models = {"encoder": encoder, "latent": middle, "decoder": decoder}

    def believed(run, means: Array) -> Gaussian:
        """Of z, from means of the context `[k, d]`: `[k, dz]`."""
        mean, raw = jnp.split(run("latent", means), 2, -1)
        return Gaussian(mean, 0.1 + 0.9 * jax.nn.sigmoid(raw))

    def functions(run, drawn: Array, inputs, weights) -> Gaussian:
        """What each draw says, `[s, n, c]`."""
        x = rows_of(inputs)
        s, n = len(drawn), len(x)
        rows = jnp.concatenate([jnp.tile(x, (s, 1)), jnp.repeat(drawn, n, 0)], -1)
        of = None if weights is None else jnp.tile(weights, s)
        found = gaussian_of(run("decoder", rows, of), min_std)
        return jax.tree.map(lambda a: a.reshape(s, n, -1), found)

    def predictive(meta, fast, inputs, weights=None) -> Predictive:
        run, _ = passes(models, meta)
        inputs = clean_rows(inputs, weights)
        return pr.normal(*functions(run, fast.drawn, inputs, weights))

    def init(key, episode):
        names = jax.random.split(key, 3)
        inputs, targets, _ = episode.support
        pairs = pairs_of(inputs, targets)
        metas = {"encoder": encoder.init(names[0], pairs)}
        d = width_of(encoder, metas["encoder"], pairs)
        metas["latent"] = middle.init(names[1], jnp.zeros((2, d)))
        rows = jnp.zeros((len(pairs), rows_of(inputs).shape[-1] + latent))
        metas["decoder"] = decoder.init(names[2], rows)
        check_decoder(decoder, metas["decoder"], rows, targets)
        return parts(metas)

    def adapt(meta, support, key):
        inputs, targets, weights = support
        run, _ = passes(models, meta)
        rows = run("encoder", pairs_of(inputs, targets), weights)
        found = believed(run, weighted_mean(rows, weights)[None])
        belief = jax.tree.map(lambda a: a[0], found)
        noise = jax.random.normal(key, (samples, latent), belief.mean.dtype)
        return Draws(belief, belief.mean + belief.std * noise)

    def predict(meta, fast, inputs, weights=None):
        return pr.mean(predictive(meta, fast, inputs, weights))

    def loss(meta, episode, key):
        support, query = episode
        drawing, key = jax.random.split(key)
        run, gathered = passes(models, meta, True, key)
        both, n = joined(support, query), len(support.targets)
        rows = run("encoder", pairs_of(both.inputs, both.targets), both.weights)
        given = weighted_mean(parted(rows, n)[0], support.weights)
        means = jnp.stack([given, weighted_mean(rows, both.weights)])
        prior, seen = (Gaussian(*p) for p in zip(*believed(run, means), strict=True))
        noise = jax.random.normal(drawing, (train_samples, latent), seen.mean.dtype)
        drawn = seen.mean + seen.std * noise
        # one more function, of the context alone: it is what is reported
        told = jnp.concatenate([drawn, prior.mean[None]])
        said = functions(run, told, both.inputs, both.weights)
        honest = Gaussian(*(parted(a[-1], n)[1] for a in said))

        asked = both if predict_support else query
        of = jax.tree.map(lambda a: a[:-1], said)
        if not predict_support:
            of = jax.tree.map(lambda a: jax.vmap(lambda r: parted(r, n)[1])(a), of)
        w = weights_of(asked)
        targets = jnp.broadcast_to(asked.targets, of.mean.shape)
        each = jnp.einsum("snc,n->s", log_prob(of, targets), w)  # all targets of a draw
        kl = kl_divergence(seen, prior).sum()
        total = jnp.maximum(w.sum(), jnp.finfo(w.dtype).tiny) * asked.targets.shape[-1]
        if bound == "elbo":
            value = (kl - each.mean()) / total
        else:
            shape = drawn.shape
            ratio = log_prob(_spread(prior, shape), drawn) - log_prob(
                _spread(seen, shape), drawn
            )
            mixed = jax.nn.logsumexp(each + ratio.sum(-1)) - math.log(train_samples)
            value = -mixed / total
        report = {
            **judged(criterion, honest.mean, support, query)[1],
            "nll": pr.nll(pr.of_gaussian(honest), query.targets, query.weights),
            "kl": kl,
        }
        return value, Aux(report, gathered)

    learner = learner_of(init, adapt, predict, loss, criterion)
    return Probabilistic(learner, predictive)


def _spread(belief: Gaussian, shape) -> Gaussian:
    return Gaussian(*(jnp.broadcast_to(a, shape) for a in belief))


@signature_of(latent_process)
def np(*args, **options) -> MetaLearner:
    """A latent neural process: a draw of z is a function, and queries agree about it.

        r = mean_i h(x_i, y_i),   q(z | S) = N(m(r), s(r)^2),   s in (0.1, 1)
        p(y_* | x_*, S) = E_{z ~ q(z | S)} N(y_*; g(x_*, z)),   g: mean and deviation
        elbo: E_{z ~ q(z | S, Q)} sum_j log p(y_j | x_j, z) - KL(q(z | S, Q) || q(z | S))
        importance: log 1/K sum_k p(y | x, z_k) q(z_k | S) / q(z_k | S, Q)

    Either bound is divided by the number of targets, so that rates suit all sizes.
    `predict` returns the mean over several draws; `latent_process` gives them as members
    of a mixture. Where a CNP says an independent "perhaps" of every query, the draws here
    are whole functions.

    Args:
      encoder: h, `[n, dx + c] -> [n, d]`, of an input and its target.
      decoder: g, `[n, dx + latent] -> [n, 2 c]`.
      latent: length of z.
      bound: "elbo" as published, or "importance", the tighter one.
      train_samples: draws in training; K.
      samples: draws of a prediction.
      predict_support: whether the loss counts the support's targets too.
      min_std: the least standard deviation of a target, given z; 0.1 as published.
      criterion: what the means are reported and judged by. It is no loss.

    Returns:
      A `MetaLearner` whose `fast` are the belief about z and draws from it.

    Raises:
      ValueError: for bad options, or a decoder of the wrong width.

    References:
      Garnelo et al. 2018, arXiv:1807.01622, eqs. (7) and (8).

    >>> import jaxmeta as jm
    >>> learner = jm.np(jm.models.mlp(None, hidden=(64, 64)), jm.models.mlp(2))
    """
    return latent_process(*args, **options).learner
