"""Domain adaptation: a labelled source, an unlabelled target, one loss.

A method is three pure functions. `jaxmeta.from_loss(method.init, method.loss)` is the
objective that the same trainer takes as everything else; nothing here steps.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jaxmeta import criteria
from jaxmeta.core import (
    Array,
    Aux,
    Batch,
    Criterion,
    Key,
    Meta,
    MetaLearner,
    Model,
    PyTree,
    Scalar,
)
from jaxmeta.functional.rows import clean, example_weights
from jaxmeta.learners.embedding import judged
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call
from jaxmeta.tasks.domains import DomainPair

Statistics = Literal["joint", "separate"]


class DomainMethod(NamedTuple):
    """A method of domain adaptation.

    Attributes:
      init: `(key, pair) -> Meta`.
      loss: `(meta, pair, key) -> (scalar, Aux)`; training.
      predict: `(meta, inputs, weights=None) -> outputs [n, c]`; inference.
      criterion: what the labelled examples are judged by.
    """

    init: Callable[[Key, DomainPair], Meta]
    loss: Callable[[Meta, DomainPair, Key], tuple[Scalar, Aux]]
    predict: Callable[..., Array]
    criterion: Criterion


def source_only(
    features: Model,
    classifier: Model,
    *,
    criterion: Criterion | Callable = criteria.classification,
) -> DomainMethod:
    """Learns from the source alone: the baseline, and what importance weights improve.

        min_{f,c} L(c(f(x_s)), y_s)

    Args:
      features: f, inputs to `[n, d]`.
      classifier: c, `[n, d]` to logits.
      criterion: L, see `jaxmeta.criteria`.

    Returns:
      A `DomainMethod`; the target of a pair is not looked at.

    >>> import jaxmeta as jm
    >>> method = source_only(jm.models.mlp(None, hidden=(8,)), jm.models.mlp(2, hidden=()))
    >>> objective = jm.from_loss(method.init, method.loss)
    """
    criterion = criteria.as_criterion(criterion)
    networks = {"features": features, "classifier": classifier}

    def loss(meta: Meta, pair: DomainPair, key: Key):
        run, source = Run(networks, meta, key), clean(pair.source)
        features = run("features", source.inputs, source.weights)
        outputs = run("classifier", features, source.weights)
        value, report = of_source(criterion, outputs, source)
        return value, Aux(report, run.buffers)

    return DomainMethod(initialiser(networks), loss, predictor(networks), criterion)


def of_source(
    criterion: Criterion, outputs: Array, source: Batch
) -> tuple[Scalar, dict[str, Scalar]]:
    """The loss and the metrics of the labelled examples."""
    against = (outputs, source.targets, source.weights)
    return criterion.loss(*against), criterion.metrics(*against)


def check_statistics(statistics: Statistics) -> None:
    """Refuses another way to take batch statistics."""
    if statistics not in get_args(Statistics):
        raise ValueError(f'statistics: got {statistics!r}, wants "joint" or "separate"')


class Run:
    """Networks in training, one after another: their buffers, gathered on the way.

    It lives inside one call of a loss and never leaves it.
    """

    def __init__(self, networks: dict[str, Model], meta: Meta, key: Key):
        self.networks, self.params = networks, meta.params
        self.buffers = dict(meta.buffers)
        self.key = key

    def __call__(self, name: str, inputs: PyTree, weights: Array | None = None) -> Any:
        self.key, key = jax.random.split(self.key)
        meta = Meta(self.params[name], self.buffers[name])
        outputs, self.buffers[name] = call(
            self.networks[name], meta, inputs, weights=weights, train=True, key=key
        )
        return outputs

    def both(
        self,
        name: str,
        source: PyTree,
        target: PyTree,
        statistics: Statistics,
        weights: Array | None = None,
    ) -> tuple[Array, Array]:
        """One network on both domains: one batch with joint statistics, or two.

        `weights` are the source's; unlabelled examples have none and count 1.
        """
        if statistics == "separate":
            return self(name, source, weights), self(name, target)
        n, m = (jax.tree.leaves(x)[0].shape[0] for x in (source, target))
        joint = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), source, target)
        if weights is not None:
            weights = example_weights(weights)
            weights = jnp.concatenate([weights, jnp.ones(m, weights.dtype)])
        outputs = self(name, joint, weights)
        return outputs[:n], outputs[n:]


def initialiser(
    networks: dict[str, Model], widen: Callable[[Array, Array], Array] | None = None
) -> Callable[[Key, DomainPair], Meta]:
    """Initial `Meta` of "features", "classifier" and, if there is one, "discriminator".

    `widen(features, logits)` makes what the discriminator sees.
    """

    def init(key: Key, pair: DomainPair) -> Meta:
        keys = jax.random.split(key, 3)
        inputs = clean(pair.source).inputs
        metas = {"features": networks["features"].init(keys[0], inputs)}
        h = shape_of(networks["features"], metas["features"], inputs)
        metas["classifier"] = networks["classifier"].init(keys[1], h)
        if "discriminator" in networks:
            if widen is not None:
                y = shape_of(networks["classifier"], metas["classifier"], h)
                h = jax.eval_shape(widen, h, y)
            metas["discriminator"] = networks["discriminator"].init(keys[2], h)
        return Meta(
            {name: meta.params for name, meta in metas.items()},
            {name: meta.buffers for name, meta in metas.items()},
        )

    return init


def shape_of(model: Model, meta: Meta, inputs: PyTree) -> Array:
    """Shape and type of a model's outputs; nothing runs."""
    return jax.eval_shape(lambda x: model.apply(meta, x)[0], inputs)


def predictor(networks: dict[str, Model]) -> Callable[..., Array]:
    """Inference: features, then the classifier; the discriminator has done its work."""

    def predict(meta: Meta, inputs: PyTree, weights: Array | None = None) -> Array:
        for name in ("features", "classifier"):
            part = Meta(meta.params[name], meta.buffers[name])
            inputs, _ = call(networks[name], part, inputs, weights=weights)
        return inputs

    return predict


def zero_shot(method: DomainMethod) -> MetaLearner:
    """A trained method as a learner, so that `evaluate` can judge it by episodes.

    It ignores the support set: whatever it knows of the target, it learned without
    labels. Its loss is the criterion's of the query.

    Args:
      method: the method.

    Returns:
      A `MetaLearner` for the method's `Meta`, with the method's criterion.

    >>> import jaxmeta as jm
    >>> net = jm.models.mlp(None, hidden=(8,)), jm.models.mlp(2, hidden=())
    >>> learner = zero_shot(source_only(*net))
    """

    def init(key, episode):
        return method.init(key, DomainPair(episode.support, episode.query))

    def predict(meta, fast, inputs, weights=None):
        return method.predict(meta, inputs, weights)

    def loss(meta, episode, key):
        support, query = episode
        outputs = method.predict(meta, query.inputs, query.weights)
        value, report = judged(method.criterion, outputs, support, query)
        return value, Aux(report)

    return learner_of(
        init, lambda meta, support, key: (), predict, loss, method.criterion
    )
