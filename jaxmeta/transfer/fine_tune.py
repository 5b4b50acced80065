"""Fine-tuning: a new task's loss, and a term that remembers the old one."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax
from jax import lax
from jax.core import Tracer

from jaxmeta import criteria, tree
from jaxmeta.checks import at_least, not_negative
from jaxmeta.core import (
    Array,
    Aux,
    Batch,
    Criterion,
    Key,
    Meta,
    MetaLearner,
    Model,
    Objective,
    PyTree,
    Scalar,
)
from jaxmeta.functional.rows import clean
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call
from jaxmeta.models.heads import split_head, with_head
from jaxmeta.tasks.domains import DomainPair
from jaxmeta.transfer.freeze import hold_buffers
from jaxmeta.transfer.supervised import gradient_of


class Seen(NamedTuple):
    """What a feature loss may look at.

    Attributes:
      params: all of the network's parameters that learn, the classifier's under "head".
      inputs: of the labelled examples.
      features: theirs, `[n, ...]`.
      other: features of the unlabelled examples of a `DomainPair`, else `None`.
      weights: of the labelled examples, `[n]`, or `None`: all count 1.
    """

    params: PyTree
    inputs: PyTree
    features: Array
    other: Array | None
    weights: Array | None = None


FeatureLoss = Callable[[Seen], Scalar]


def fine_tune(
    extractor: Model,
    head: Model,
    *,
    lam: float | Array = 0.0,
    feature_loss: FeatureLoss | None = None,
    criterion: Criterion | Callable = criteria.classification,
) -> Objective:
    """The fine-tuning objective: classify, and do not stray.

        L = L_cls(head(f(x)), y) + lam L_feat

    L_feat is `l2_sp`, `distillation`, `feature_gap`, or any function of what was `Seen`.
    Parts of the extractor that are not to move: `models.frozen(f, within("block1"))`, or
    `lora(f)` for all but a few parameters. With the whole extractor frozen L_feat is a
    constant, and asking for it is an error.

    Args:
      extractor: f, without a classifier; `inference_mode(f)` keeps all its statistics.
      head: the classifier, see `models.linear_head`.
      lam: weight of the feature loss, >= 0. A traced scalar is taken for positive: what
        `as_learner` adapts to can be differentiated in it, and `fit_population` trains
        several at once.
      feature_loss: L_feat.
      criterion: L_cls, see `jaxmeta.criteria`.

    Returns:
      An `Objective` for a `Batch`, or a `tasks.domains.DomainPair` whose unlabelled
      examples the gap is measured to. Its `Meta` is that of `with_head(extractor,
      head)`; `transplant` fills it with pretrained parameters.

    Raises:
      ValueError: for bad numbers, or `lam > 0` without a feature loss; when traced, for
        `lam > 0` with an extractor that is all frozen.

    References:
      Li et al. 2018, arXiv:1802.01483, for L2-SP and feature maps.

    >>> import jaxmeta as jm
    >>> objective = fine_tune(jm.models.conv4(None), jm.models.linear_head(5))
    """
    acts = isinstance(lam, Tracer) or lam != 0
    not_negative(lam=lam)
    if acts and feature_loss is None:
        raise ValueError(f"lam: got {lam} without a feature_loss, wants 0 or one")
    whole = with_head(extractor, head)
    criterion = criteria.as_criterion(criterion)

    def check(params):
        if acts and not tree.leaves(split_head(Meta(params))[0].params):
            raise ValueError(
                f"lam: got {lam} with a frozen extractor, wants 0: the features, and "
                "with them the feature loss, are constants (free a layer to use it)"
            )

    def init(key: Key, batch: Batch | DomainPair) -> Meta:
        meta = whole.init(key, clean(_labelled(batch)).inputs)
        check(meta.params)
        return meta

    def loss(meta: Meta, batch: Batch | DomainPair, key: Key):
        check(meta.params)
        mine, top = split_head(meta)
        inputs, targets, weights = clean(_labelled(batch))
        body_key, head_key, other_key = jax.random.split(key, 3)
        features, buffers = call(
            extractor, mine, inputs, weights=weights, train=True, key=body_key
        )
        outputs, _ = call(
            head, top, features, weights=weights, train=True, key=head_key
        )
        value = criterion.loss(outputs, targets, weights)
        report = criterion.metrics(outputs, targets, weights)
        if acts and feature_loss is not None:
            other = None
            if isinstance(batch, DomainPair):  # its statistics are its own
                other, _ = extractor.apply(
                    mine, batch.target.inputs, train=True, key=other_key
                )
            seen = Seen(meta.params, inputs, features, other, weights)
            feature = feature_loss(seen)
            value, report = value + lam * feature, {**report, "feature_loss": feature}
        return value, Aux(report, buffers)

    return Objective(init, gradient_of(loss))


def as_learner(
    objective: Objective,
    model: Model,
    tx: optax.GradientTransformation,
    *,
    steps: int,
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """Fine-tuning on the support set, as a learner that `evaluate` can judge.

        theta_0 = meta,  theta_{k+1} = theta_k + tx(grad L(theta_k; S))

    It adapts the whole `Meta`, buffers included, and predicts by `model`. There is no
    outer loop to speak of: its loss is the objective on the support set.

    Args:
      objective: from `fine_tune` or `supervised`.
      model: the network that predicts, `with_head(extractor, head)` for `fine_tune`.
      tx: the optimiser; partitions, schedules and unfreezing as you like.
      steps: K >= 0, each on the whole support set.
      criterion: what the queries are judged by.

    Returns:
      A `MetaLearner` whose `fast` is a `Meta`.

    Raises:
      ValueError: if `steps < 0`.

    >>> import jaxmeta as jm
    >>> body, head = jm.models.conv4(None), jm.models.linear_head(5)
    >>> objective = fine_tune(body, head)
    >>> model = jm.models.with_head(body, head)
    >>> learner = as_learner(objective, model, optax.sgd(0.01), steps=20)
    """
    at_least(0, steps=steps)
    tx = optax.with_extra_args_support(tx)

    def init(key, episode):
        return objective.init(key, episode.support)

    def adapt(meta, support, key):
        def step(carry, k):
            meta, before = carry
            at = jax.random.fold_in(key, k)
            (value, aux), grads = objective.value_and_grad(meta, support, at)
            updates, state = tx.update(
                grads, before, meta.params, value=value, grad=grads
            )
            params = optax.apply_updates(meta.params, updates)
            buffers = hold_buffers(before, meta, aux.buffers)
            return (Meta(params, buffers), state), None

        start = (meta, tx.init(meta.params))
        return lax.scan(step, start, jax.numpy.arange(steps))[0][0]

    def predict(meta, fast, inputs, weights=None):
        return call(model, fast, inputs, weights=weights)[0]

    def loss(meta, episode, key):
        held = lax.stop_gradient(meta)
        (value, aux), grads = objective.value_and_grad(held, episode.support, key)
        # a straight line of the objective's slope through its value
        rise = optax.tree.vdot(grads, optax.tree.sub(meta.params, held.params))
        return value + rise, aux

    return learner_of(init, adapt, predict, loss, criteria.as_criterion(criterion))


def _labelled(batch: Batch | DomainPair) -> Batch:
    return batch.source if isinstance(batch, DomainPair) else batch
