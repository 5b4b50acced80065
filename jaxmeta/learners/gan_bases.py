"""The two learners that MetaGAN adds to, and the class N + 1 that it adds."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmeta import losses
from jaxmeta.core import (
    Array,
    Batch,
    Episode,
    Key,
    Meta,
    MetaLearner,
    Model,
    PyTree,
    Rule,
)
from jaxmeta.functional.unroll import unroll
from jaxmeta.learners.common import TaskLoss, learned
from jaxmeta.learners.embedding import embed, real_rows
from jaxmeta.learners.relation_network import class_sums, pair_mse, relate
from jaxmeta.models.relation import relation as relation_module
from jaxmeta.rules import check_differentiable
from jaxmeta.tasks.semi import Semi

Unsupervised = Callable[[Array, Callable[[Array], Array]], Array]
"""`(logits of the batch, judge: inputs -> logits) -> scalar`, added to the inner loss."""


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
      logits: `(meta, fast, inputs, train, key) -> logits [n, c]`.
      loss: `(logits, targets) -> scalar`.
      outputs: logits -> what the learner predicts.
    """

    init: Callable[[Key, Episode], Meta]
    train: Callable[..., tuple[PyTree, Array, PyTree]]
    adapt: Callable[..., PyTree]
    logits: Callable[..., Array]
    loss: Callable[[Array, Array], Array]
    outputs: Callable[[Array], Array] = lambda logits: logits


def maml_base(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int,
    order: str,
    task_loss: TaskLoss | None,
) -> Base:
    """MAML, whose inner loss may have another term."""
    if steps and order != "first":
        check_differentiable(inner)
    slow, loss = learned(inner), task_loss or losses.cross_entropy

    def call(meta, phi, inputs, train, key):
        return model.apply(Meta(phi, meta.buffers), inputs, train=train, key=key)

    def run(meta, support, extra: Unsupervised | None, train, key):
        params, tx = slow.open(meta.params)

        def inner_loss(phi, batch, k):
            at = jax.random.fold_in(key, k)
            logits = call(meta, phi, batch.inputs, train, at)[0]
            value = loss(logits, batch.targets)
            if extra is None:
                return value
            return value + extra(logits, lambda x: call(meta, phi, x, train, at)[0])

        return unroll(inner_loss, params, tx, support, steps=steps, order=order).params

    def init(key, episode):
        return slow.init(model.init(key, episode.support.inputs))

    def train(meta, episode, extra, key):
        phi = run(meta, episode.support, extra, True, key)
        at = jax.random.fold_in(key, 2 * steps)
        return phi, *call(meta, phi, episode.query.inputs, True, at)

    def adapt(meta, support, extra, key):
        return run(meta, support, extra, False, key)

    def logits(meta, fast, inputs, train, key):
        return call(meta, fast, inputs, train, key)[0]

    return Base(init, train, adapt, logits, loss)


def relation_base(
    model: Model, relation: Model | None, *, task_loss: TaskLoss | None
) -> Base:
    """A relation network; l_k is what its module says before the sigmoid."""
    g = relation_module() if relation is None else relation

    def default_loss(logits, targets):
        return pair_mse(jax.nn.sigmoid(logits), targets)

    def part(meta: Meta, name: str) -> Meta:
        return Meta(meta.params[name], meta.buffers[name])

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
        sums = class_sums(found.support, episode.support.targets)
        z, kept = relate(
            g, part(meta, "relation"), sums, found.query, train=True, key=relation_key
        )
        return sums, z, {"model": found.buffers, "relation": kept}

    def adapt(meta, support, extra, key):
        maps, _ = model.apply(part(meta, "model"), support.inputs)
        return class_sums(maps, support.targets)

    def logits(meta, fast, inputs, train, key):
        maps, _ = model.apply(part(meta, "model"), inputs, train=train, key=key)
        head = part(meta, "relation")
        return relate(g, head, fast, maps, train=train, key=key)[0]

    return Base(init, train, adapt, logits, task_loss or default_loss, jax.nn.sigmoid)


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


def log_real_of(logits: Array, batch, judge) -> Array:
    """E log p(y <= N | x) over the real rows, or over the unlabelled examples."""
    if isinstance(batch.inputs, Semi) and len(batch.inputs.unlabelled):
        return jnp.mean(log_real(judge(batch.inputs.unlabelled)))
    return _mean(log_real(logits), real_rows(batch.targets))


def _mean(values: Array, mask: Array) -> Array:
    total = mask.sum()
    return jnp.sum(values * mask) / jnp.where(total > 0, total, 1.0)


def pooled(support) -> tuple[Array, Array]:
    """What the set encoder sees, and the weight of each in its mean: no padding."""
    real = real_rows(support.targets)
    if not isinstance(support.inputs, Semi):
        return support.inputs, real / jnp.maximum(real.sum(), 1.0)
    inputs = jnp.concatenate(support.inputs)
    more = jnp.ones(len(support.inputs.unlabelled), real.dtype)
    weights = jnp.concatenate([real, more])
    return inputs, weights / jnp.maximum(weights.sum(), 1.0)


def players(params: PyTree) -> PyTree:
    """Who owns each parameter, as labels for `optax.partition`: rates per player.

    >>> players({"discriminator": {"w": 1.0}, "generator": {"w": 1.0}})
    {'discriminator': {'w': 'discriminator'}, 'generator': {'w': 'generator'}}
    """
    return {
        name: jax.tree.map(lambda _, n=name: n, part) for name, part in params.items()
    }
