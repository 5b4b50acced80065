"""The two learners that MetaGAN adds to, and the class N + 1 that it adds."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmeta import criteria
from jaxmeta.core import (
    Array,
    Batch,
    Criterion,
    Episode,
    Key,
    Meta,
    MetaLearner,
    Model,
    PyTree,
    Rule,
)
from jaxmeta.functional.rows import check_minibatch, minibatch, weights_of
from jaxmeta.gradients import Gradient, Unrolled, argmin
from jaxmeta.learners.common import learned, warn_of_averages
from jaxmeta.learners.differentiated import check_gradient, differentiates
from jaxmeta.learners.embedding import embed
from jaxmeta.learners.relation_network import (
    ClassSums,
    class_sums,
    pair_weights,
    relate,
    relation_scores,
)
from jaxmeta.losses import present_classes, weighted_mean
from jaxmeta.models.call import call
from jaxmeta.models.relation import relation as relation_module
from jaxmeta.rules import check_differentiable
from jaxmeta.tasks.semi import Semi

Unsupervised = Callable[[Array, Batch, Callable[[Array], Array]], Array]
"""`(logits, their batch, judge: inputs -> logits) -> scalar`, added to the inner loss."""


class MetaGAN(NamedTuple):
    """A `meta_gan` and its generator.

    Attributes:
      learner: the `MetaLearner`.
      generate: `(meta, support, key) -> fakes [fakes, ...]`, examples of a task that
        the generator makes up.
    """

    learner: MetaLearner
    generate: Callable[[Meta, Batch, Key], Array]


class Base(NamedTuple):
    """A few-shot classifier with logits l_1..N, in training and in inference.

    Attributes:
      init: `(key, episode) -> Meta`.
      train: `(meta, episode, extra, key) -> (fast, query logits, buffers)`.
      adapt: `(meta, support, extra, key) -> fast`.
      logits: `(meta, fast, inputs, train, key, weights=None) -> logits [n, c]`.
      criterion: what the outputs are judged by.
      outputs: logits -> what the learner predicts.
    """

    init: Callable[[Key, Episode], Meta]
    train: Callable[..., tuple[PyTree, Array, PyTree]]
    adapt: Callable[..., PyTree]
    logits: Callable[..., Array]
    criterion: Criterion
    outputs: Callable[[Array], Array] = lambda logits: logits


def maml_base(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int,
    gradient: Gradient,
    criterion: Criterion | Callable | None,
    inner_criterion: Criterion | Callable | None,
    inner_batch: int | None,
) -> Base:
    """MAML, whose inner loss may have another term."""
    check_gradient(gradient, Unrolled)
    if steps and differentiates(gradient):
        check_differentiable(inner)
    check_minibatch(inner_batch)
    slow, criterion = learned(inner), criteria.as_criterion(criterion)
    within = criterion if inner_criterion is None else inner_criterion
    within = criteria.as_criterion(within)

    def apply(meta, phi, inputs, train, key, weights=None):
        here = Meta(phi, meta.buffers)
        return call(model, here, inputs, weights=weights, train=train, key=key)

    def run(meta, support, extra: Unsupervised | None, train, key):
        def inner_loss(phi, meta, at):
            batch = support
            if inner_batch is not None:
                at, choosing = jax.random.split(at)
                batch = minibatch(batch, inner_batch, choosing)

            def judge(x, weights=None):
                # one network whoever is looked at, dropout included
                same = jax.random.clone(at)
                return apply(meta, phi, x, train, same, weights)[0]

            raw = judge(batch.inputs, batch.weights)
            logits = within.prepare(raw, support)
            value = within.loss(logits, batch.targets, batch.weights)
            return value if extra is None else value + extra(raw, batch, judge)

        return argmin(
            inner_loss,
            slow.open(meta.params)[0],
            meta,
            lambda meta: slow.open(meta.params)[1],
            steps=steps,
            gradient=gradient,
            batches=lambda k: jax.random.fold_in(key, k),
        ).params

    def init(key, episode):
        start = model.init(key, episode.support.inputs)
        warn_of_averages(model, start, episode.support.inputs)
        if steps and differentiates(gradient):
            check_differentiable(inner, start.params, steps=steps)
        return slow.init(start)

    def train(meta, episode, extra, key):
        phi = run(meta, episode.support, extra, True, key)
        at, query = jax.random.fold_in(key, 2 * steps), episode.query
        return phi, *apply(meta, phi, query.inputs, True, at, query.weights)

    def adapt(meta, support, extra, key):
        return run(meta, support, extra, False, key)

    def logits(meta, fast, inputs, train, key, weights=None):
        return apply(meta, fast, inputs, train, key, weights)[0]

    return Base(init, train, adapt, logits, criterion)


def relation_base(
    model: Model, relation: Model | None, *, criterion: Criterion | Callable | None
) -> Base:
    """A relation network; l_k is what its module says before the sigmoid."""
    g = relation_module() if relation is None else relation
    criterion = relation_scores if criterion is None else criterion

    def part(meta: Meta, name: str) -> Meta:
        return Meta(meta.params[name], meta.buffers[name])

    def related(meta, fast: ClassSums, maps, weights, train, key):
        head, pairs = part(meta, "relation"), None
        if fast.present is not None or weights is not None:
            pairs = pair_weights(fast, maps, weights)
        return relate(g, head, fast.sums, maps, pairs, train=train, key=key)

    def summed(maps, support):
        sums, present = class_sums(maps, support.targets, support.weights), None
        if support.weights is not None:
            present = present_classes(support.targets, support.weights)
        return ClassSums(sums, present)

    def init(key, episode):
        model_key, relation_key = jax.random.split(key)
        base = model.init(model_key, episode.support.inputs)
        maps = jax.eval_shape(model.apply, base, episode.support.inputs)[0]
        shape = (1, *maps.shape[1:-1], 2 * maps.shape[-1])
        head = g.init(relation_key, jax.ShapeDtypeStruct(shape, maps.dtype))
        return Meta(
            *({"model": a, "relation": b} for a, b in zip(base, head, strict=True))
        )

    def train(meta, episode, extra, key):
        del extra  # there is no inner loop to be told
        model_key, relation_key = jax.random.split(key)
        found = embed(model, part(meta, "model"), episode, model_key)
        fast, weights = summed(found.support, episode.support), episode.query.weights
        z, kept = related(meta, fast, found.query, weights, True, relation_key)
        return fast, z, {"model": found.buffers, "relation": kept}

    def adapt(meta, support, extra, key):
        here = part(meta, "model")
        maps, _ = call(model, here, support.inputs, weights=support.weights)
        return summed(maps, support)

    def logits(meta, fast, inputs, train, key, weights=None):
        keys = (None, None) if key is None else jax.random.split(key)
        here, how = part(meta, "model"), dict(weights=weights, train=train)
        maps, _ = call(model, here, inputs, key=keys[0], **how)
        return related(meta, fast, maps, weights, train, keys[1])[0]

    criterion = criteria.as_criterion(criterion)
    return Base(init, train, adapt, logits, criterion, jax.nn.sigmoid)


def log_real(logits: Array) -> Array:
    """log p(y <= N | x) of a classifier with a class N + 1, fake, of logit 0: `[n]`.

        log sigmoid(log sum_k exp l_k)

    Its sibling log p(y = N + 1 | x) is `-softplus(log sum_k exp l_k)`.

    >>> jnp.exp(log_real(jnp.zeros((1, 1)))).tolist()
    [0.5]
    """
    return jax.nn.log_sigmoid(jax.nn.logsumexp(logits, -1))


def log_fake(logits: Array) -> Array:
    """log p(y = N + 1 | x), `[n]`: with `log_real` the two halves of a probability of 1.

    >>> jnp.exp(log_fake(jnp.zeros((1, 1)))).tolist()
    [0.5]
    """
    return -jax.nn.softplus(jax.nn.logsumexp(logits, -1))


def log_real_of(logits: Array, unlabelled: Array | None, batch: Batch, judge) -> Array:
    """E log p(y <= N | x) over the real rows, or over the unlabelled examples."""
    if unlabelled is not None:
        return jnp.mean(log_real(judge(unlabelled)))
    return weighted_mean(log_real(logits), batch.weights)


def unlabelled_of(batch: Batch) -> Array | None:
    """The examples of a batch without labels, if it can have any."""
    some = isinstance(batch.inputs, Semi) and len(batch.inputs.unlabelled)
    return batch.inputs.unlabelled if some else None


def pooled(support: Batch) -> tuple[Array, Array | None]:
    """What the set encoder sees, and how much each counts in its mean."""
    if not isinstance(support.inputs, Semi):
        return support.inputs, support.weights
    inputs = jnp.concatenate(support.inputs)
    if support.weights is None:
        return inputs, None
    more = jnp.ones(len(support.inputs.unlabelled), support.targets.dtype)
    return inputs, jnp.concatenate([weights_of(support), more])


def players(params: PyTree) -> PyTree:
    """Who owns each parameter, as labels for `optax.partition`: rates per player.

    >>> players({"discriminator": {"w": 1.0}, "generator": {"w": 1.0}})
    {'discriminator': {'w': 'discriminator'}, 'generator': {'w': 'generator'}}
    """
    return {
        name: jax.tree.map(lambda _, n=name: n, part) for name, part in params.items()
    }
