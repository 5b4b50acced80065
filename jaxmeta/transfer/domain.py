"""Domain adaptation: a labelled source, an unlabelled target, one loss.

A method is three pure functions. `jaxmeta.from_loss(method.init, method.loss)` is the
objective that the same trainer takes as everything else; nothing here steps.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta import losses, metrics
from jaxmeta.core import Array, Aux, Key, Meta, MetaLearner, Model, PyTree, Scalar
from jaxmeta.tasks.domains import DomainPair

Statistics = Literal["joint", "separate"]


class DomainMethod(NamedTuple):
    """A method of domain adaptation.

    Attributes:
      init: `(key, pair) -> Meta`.
      loss: `(meta, pair, key) -> (scalar, Aux)`; training.
      predict: `(meta, inputs) -> logits [n, c]`; inference.
    """

    init: Callable[[Key, DomainPair], Meta]
    loss: Callable[[Meta, DomainPair, Key], tuple[Scalar, Aux]]
    predict: Callable[[Meta, PyTree], Array]


def source_only(
    features: Model,
    classifier: Model,
    *,
    task_loss: Callable[[Array, Array], Scalar] = losses.cross_entropy,
) -> DomainMethod:
    """Learns from the source alone: the baseline, and what importance weights improve.

        min_{f,c} L(c(f(x_s)), y_s)

    Args:
      features: f, inputs to `[n, d]`.
      classifier: c, `[n, d]` to logits.
      task_loss: L, `(outputs, targets) -> scalar`.

    Returns:
      A `DomainMethod`; the target of a pair is not looked at.

    >>> import jaxmeta as jm
    >>> method = source_only(jm.models.mlp(None, hidden=(8,)), jm.models.mlp(2, hidden=()))
    >>> objective = jm.from_loss(method.init, method.loss)
    """
    networks = {"features": features, "classifier": classifier}

    def loss(meta: Meta, pair: DomainPair, key: Key):
        run = Run(networks, meta, key)
        outputs = run("classifier", run("features", pair.source.inputs))
        value = task_loss(outputs, pair.source.targets)
        report = metrics.summary(outputs, pair.source.targets)
        return value, Aux(report, run.buffers)

    return DomainMethod(initialiser(networks), loss, predictor(networks))


class Run:
    """Networks in training, one after another: their buffers, gathered on the way.

    It lives inside one call of a loss and never leaves it.
    """

    def __init__(self, networks: dict[str, Model], meta: Meta, key: Key):
        self.networks, self.params = networks, meta.params
        self.buffers = dict(meta.buffers)
        self.key = key

    def __call__(self, name: str, inputs: PyTree) -> Any:
        self.key, key = jax.random.split(self.key)
        meta = Meta(self.params[name], self.buffers[name])
        outputs, self.buffers[name] = self.networks[name].apply(
            meta, inputs, train=True, key=key
        )
        return outputs

    def both(
        self, name: str, source: PyTree, target: PyTree, statistics: Statistics
    ) -> tuple[Array, Array]:
        """One network on both domains: one batch with joint statistics, or two."""
        if statistics == "separate":
            return self(name, source), self(name, target)
        n = jax.tree.leaves(source)[0].shape[0]
        joint = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), source, target)
        outputs = self(name, joint)
        return outputs[:n], outputs[n:]


def initialiser(
    networks: dict[str, Model], widen: Callable[[Array, Array], Array] | None = None
) -> Callable[[Key, DomainPair], Meta]:
    """Initial `Meta` of "features", "classifier" and, if there is one, "discriminator".

    `widen(features, logits)` makes what the discriminator sees.
    """

    def init(key: Key, pair: DomainPair) -> Meta:
        keys = jax.random.split(key, 3)
        metas = {"features": networks["features"].init(keys[0], pair.source.inputs)}
        h = shape_of(networks["features"], metas["features"], pair.source.inputs)
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


def predictor(networks: dict[str, Model]) -> Callable[[Meta, PyTree], Array]:
    """Inference: features, then the classifier; the discriminator has done its work."""

    def predict(meta: Meta, inputs: PyTree) -> Array:
        for name in ("features", "classifier"):
            part = Meta(meta.params[name], meta.buffers[name])
            inputs = networks[name].apply(part, inputs)[0]
        return inputs

    return predict


def zero_shot(method: DomainMethod) -> MetaLearner:
    """A trained method as a learner, so that `evaluate` can judge it by episodes.

    It ignores the support set: whatever it knows of the target, it learned without
    labels. Its loss is the cross-entropy of the query.

    Args:
      method: the method.

    Returns:
      A `MetaLearner` for the method's `Meta`.

    >>> import jaxmeta as jm
    >>> net = jm.models.mlp(None, hidden=(8,)), jm.models.mlp(2, hidden=())
    >>> learner = zero_shot(source_only(*net))
    """

    def init(key, episode):
        return method.init(key, DomainPair(episode.support, episode.query))

    def loss(meta, episode, key):
        outputs = method.predict(meta, episode.query.inputs)
        value = losses.cross_entropy(outputs, episode.query.targets)
        return value, Aux(metrics.summary(outputs, episode.query.targets))

    return MetaLearner(
        init,
        lambda meta, support, key: (),
        lambda meta, fast, inputs: method.predict(meta, inputs),
        loss,
    )
