"""Pretraining: ordinary classification of all classes, judged by few-shot tasks.

Wang et al. 2019, SimpleShot, https://arxiv.org/abs/1911.04623; Chen et al. 2019, A Closer
Look at Few-shot Classification, https://arxiv.org/abs/1904.04232.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import jax
import jax.numpy as jnp

from jaxmeta import criteria, learners, models, transfer
from jaxmeta.core import Features, Meta, MetaLearner, Model
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.models.call import call
from jaxmeta.models.heads import split_head
from jaxmeta.recipes import networks, samplers, sources
from jaxmeta.recipes.labelled import classes_of
from jaxmeta.recipes.methods import name_of
from jaxmeta.recipes.outer import Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Network, Source
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment
from jaxmeta.runs.options import OneOf, use
from jaxmeta.runs.registry import recipe

MEAN = "feature_mean"
"""The buffers that hold the mean feature, beside those of the network."""

Tester = Callable[[Features], MetaLearner]


def simple_shot(
    features: Features, *, normalise: Literal["un", "l2", "cl2n"] = "cl2n"
) -> MetaLearner:
    """The nearest class mean of features that are centred and of length 1.

    Args:
      features: the network without its head.
      normalise: features as they are, of length 1, or centred before that.
    """
    return _with_mean(learners.simple_shot(features, normalise=normalise))


def protonet(features: Features, *, temperature: float = 1.0) -> MetaLearner:
    """The nearest class mean.

    Args:
      features: the network without its head.
      temperature: of the distances.
    """
    return _of_features(learners.protonet(features, temperature=temperature))


TESTERS = {f.__name__: f for f in (simple_shot, protonet)}
"""Ways to judge features that nobody has adapted."""


@recipe("pretrain")
def pretrain(
    *,
    dataset: Annotated[Callable[[], Source], sources.ANY] = use("glyphs"),
    classes: int = 64,
    examples: int = 20,
    network: Annotated[Network, networks.ANY] = use("conv4"),
    tester: Annotated[Tester, OneOf(TESTERS)] = use("simple_shot"),
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    smoothing: float = 0.0,
    steps: int = 1000,
    batch: int = 64,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
    schedule: Schedule = "cosine",
    clip: float | None = None,
) -> Experiment:
    """One network tells all training classes apart; new classes judge its features.

    Args:
      dataset: where classes come from.
      classes: training classes, where they are drawn.
      examples: drawings of each of them.
      network: the network.
      tester: judges its features by those episodes; nothing is trained for it.
      ways: new classes in an episode of validation and test.
      shots: support examples of each.
      queries: query examples of each.
      smoothing: of the labels, in [0, 1).
      steps: outer steps.
      batch: examples in a step.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls.
      clip: largest norm of the outer gradient; None: not clipped.

    Returns:
      An `Experiment`.
    """
    if not 0 <= smoothing < 1:
        raise ConfigError("smoothing", smoothing, "a number in [0, 1)")
    for field, value, least in (("classes", classes, 2), ("examples", examples, 1)):
        if value < least:
            raise ConfigError(field, value, f"an integer >= {least}")
    source = dataset()
    whole = classes_of(source, classes, examples)
    episodes = samplers.fixed(source, ways=ways, shots=shots, queries=queries)
    body = network(None)
    model = models.with_head(remember(body), models.linear_head(len(whole.names)))
    criterion = criteria.classification
    if smoothing:
        criterion = criteria.label_smoothing(smoothing)
    judged: MetaLearner = tester(body)
    judged = judged._replace(init=lambda key, e: model.init(key, e.support.inputs))
    name = f"{len(whole.names)} classes of {source.name}"
    return Experiment(
        None,
        episodes.tasks._replace(train=transfer.examples(whole)),
        outer(optimiser, rate, schedule, steps, 1000, clip),
        steps,
        batch,
        objective=transfer.supervised(model, criterion=criterion),
        tester=judged,
        predictive=classifier(judged).predictive,
        pictures=source.pictures,
        facts={
            "learner": "pretrain",
            "tester": name_of(tester),
            "dataset": source.name,
            **episodes.facts,
            **source.facts,
            "classes": len(whole.names),
        },
        title=f"Pretraining on {name}, {ways}-way {shots}-shot by {name_of(tester)}",
        reader=source.reader,
    )


def remember(features: Features, momentum: float = 0.99) -> Model:
    """Features that keep a running mean of themselves, in buffers of their own.

        m <- momentum m + (1 - momentum) mean_i f(x_i)

    Args:
      features: the network; its buffers are a dictionary, or there are none.
      momentum: of the mean, a minibatch.

    Returns:
      A `Model` with the same outputs.
    """

    def init(key, inputs) -> Meta:
        meta = features.init(key, inputs)
        shape = jax.eval_shape(features.apply, meta, inputs)[0]
        mean = {"sum": jnp.zeros(shape.shape[1:], shape.dtype), "weight": jnp.zeros(())}
        return meta._replace(buffers={**dict(meta.buffers or {}), MEAN: mean})

    def apply(meta: Meta, inputs, *, train=False, key=None, weights=None):
        own = {name: b for name, b in meta.buffers.items() if name != MEAN}
        outputs, after = call(
            features, Meta(meta.params, own), inputs,
            weights=weights, train=train, key=key,
        )  # fmt: skip
        mean = meta.buffers[MEAN]
        if train:
            now = {"sum": jax.lax.stop_gradient(outputs).mean(0), "weight": 1.0}
            mean = jax.tree.map(
                lambda old, new: momentum * old + (1 - momentum) * new, mean, now
            )
        return outputs, {**dict(after or {}), MEAN: mean}

    return Model(init, apply)


def _of_features(learner: MetaLearner) -> MetaLearner:
    """A learner of features for the `Meta` of the whole network."""

    def own(meta: Meta) -> Meta:
        body = split_head(meta)[0]
        return Meta(body.params, {k: b for k, b in body.buffers.items() if k != MEAN})

    return _through(learner, own)


def _with_mean(learner: MetaLearner) -> MetaLearner:
    """The same for SimpleShot, which knows the mean feature of the training classes."""

    def own(meta: Meta) -> Meta:
        body = split_head(meta)[0]
        model = {k: b for k, b in body.buffers.items() if k != MEAN}
        return Meta(body.params, {"model": model, **body.buffers[MEAN]})

    return _through(learner, own)


def _through(learner: MetaLearner, own: Callable[[Meta], Meta]) -> MetaLearner:
    def predict(meta, fast, inputs, weights=None):
        return learner.predict(own(meta), fast, inputs, weights=weights)

    def loss(meta, episode, key):
        value, aux = learner.loss(own(meta), episode, key)
        return value, aux._replace(buffers=None)

    return learner._replace(
        adapt=lambda meta, support, key: learner.adapt(own(meta), support, key),
        predict=predict,
        loss=loss,
    )
