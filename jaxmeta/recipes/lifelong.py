"""Learning for life: features are trained, then new classes come one after another.

Javed, White 2019, https://arxiv.org/abs/1905.12588; Lopez-Paz, Ranzato 2017,
https://arxiv.org/abs/1706.08840.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import optax

from jaxmeta import learners, models, train, transfer
from jaxmeta.core import Features, Objective
from jaxmeta.learners.redrawn import redrawn
from jaxmeta.recipes import lifelong_judge, networks, samplers, sources
from jaxmeta.recipes.labelled import classes_of
from jaxmeta.recipes.methods import name_of
from jaxmeta.recipes.outer import Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Network, Source
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Experiment
from jaxmeta.runs.options import OneOf, use
from jaxmeta.runs.registry import recipe


class Start(NamedTuple):
    """How features are trained: the objective, what it draws, facts of it."""

    objective: Objective
    draw: Any
    facts: dict[str, Any]


def pretraining(
    source: Source, body: Features, *, classes: int = 64, examples: int = 20
) -> Start:
    """One classifier of all training classes.

    Args:
      source: where classes come from.
      body: the network without its head.
      classes: training classes, where they are drawn.
      examples: drawings of each of them.
    """
    for field, value, least in (("classes", classes, 2), ("examples", examples, 1)):
        if value < least:
            raise ConfigError(field, value, f"an integer >= {least}")
    whole = classes_of(source, classes, examples)
    net = models.with_head(body, models.linear_head(len(whole.names)))
    facts = {"train_classes": len(whole.names)}
    return Start(transfer.supervised(net), transfer.examples(whole), facts)


def oml(
    source: Source,
    body: Features,
    *,
    inner_rate: float = 0.03,
    train_ways: int = 5,
    train_shots: int = 5,
    train_queries: int = 5,
) -> Start:
    """Features on which a head bears short streams of training classes.

    Args:
      source: where classes come from.
      body: the network without its head.
      inner_rate: learning rate of the head in a stream of training.
      train_ways: classes of such a stream.
      train_shots: examples of each in it, one step each.
      train_queries: examples of each that are asked for afterwards, too.
    """
    if not 0 < inner_rate < float("inf"):
        raise ConfigError("inner_rate", inner_rate, "a finite number > 0")
    drawn = samplers.fixed(
        source, ways=train_ways, shots=train_shots, queries=train_queries
    )
    net = models.with_head(body, models.linear_head(train_ways))
    learner = redrawn(learners.oml(net, optax.sgd(inner_rate)))
    facts = {"train_ways": train_ways, "train_shots": train_shots}
    return Start(train.episodic(learner), drawn.tasks.train, facts)


STARTS = {"pretraining": pretraining, "oml": oml}
"""What trains the features that a stream does not move."""


def class_means(ways: int) -> transfer.Continual:
    """The nearest class mean; prototypes are only ever added.

    Args:
      ways: classes in all.
    """
    del ways
    return transfer.class_means(models.flat())


def ridge(ways: int, *, lam: float = 1.0) -> transfer.Continual:
    """Ridge regression by running sums: what all examples at once would give.

    Args:
      ways: classes in all.
      lam: strength of the penalty.
    """
    del ways
    if not 0 < lam < float("inf"):
        raise ConfigError("lam", lam, "a finite number > 0")
    return transfer.running_ridge(models.flat(), lam=lam)


def steps_alone(ways: int, *, stream_rate: float = 0.01) -> transfer.Continual:
    """A step of the head for each example.

    Args:
      ways: classes in all.
      stream_rate: its learning rate.
    """
    return transfer.fine_tuning(models.linear_head(ways), _sgd(stream_rate))


def replay(
    ways: int, *, stream_rate: float = 0.01, capacity: int = 200, recalled: int = 8
) -> transfer.Continual:
    """A step of the head for each example, with some of the past beside it.

    Args:
      ways: classes in all.
      stream_rate: its learning rate.
      capacity: examples that are kept.
      recalled: of them, beside each new one.
    """
    for field, value in (("capacity", capacity), ("recalled", recalled)):
        if value < 1:
            raise ConfigError(field, value, "an integer >= 1")
    return transfer.replay(
        models.linear_head(ways), _sgd(stream_rate), capacity=capacity, count=recalled
    )


def _sgd(rate: float) -> optax.GradientTransformation:
    if not 0 < rate < float("inf"):
        raise ConfigError("stream_rate", rate, "a finite number > 0")
    return optax.sgd(rate)


KEEPERS = {
    "class_means": class_means,
    "ridge": ridge,
    "fine_tuning": steps_alone,
    "replay": replay,
}
"""How a stream of new classes is learned on those features."""


@recipe("lifelong")
def lifelong(
    *,
    dataset: Annotated[Callable[[], Source], sources.ANY] = use("glyphs"),
    network: Annotated[Network, networks.ANY] = use("conv4"),
    start: Annotated[Callable[..., Start], OneOf(STARTS)] = use("pretraining"),
    keeper: Annotated[Callable[..., transfer.Continual], OneOf(KEEPERS)] = use(
        "class_means"
    ),
    stages: int = 10,
    ways: int = 50,
    shots: int = 10,
    queries: int = 5,
    steps: int = 500,
    batch: int = 64,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
    schedule: Schedule = "cosine",
    clip: float | None = None,
) -> Experiment:
    """New classes come in stages, each example once; all so far are asked for.

    The features stay as training has left them. The score of a stream is the accuracy
    among all its classes after the last stage; result.json has it after each, and
    forgetting and backward transfer.

    Args:
      dataset: where classes come from.
      network: of the features.
      start: what trains them.
      keeper: how a stream is learned on them.
      stages: of a stream of validation and test.
      ways: classes of all its stages together.
      shots: examples of each in the stream.
      queries: examples of each that are asked for.
      steps: outer steps.
      batch: examples (or streams of training) in a step.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls.
      clip: largest norm of the outer gradient; None: not clipped.

    Returns:
      An `Experiment`.
    """
    if stages < 2 or ways % stages:
        raise ConfigError("stages", stages, f"2 or more that divide {ways} ways")
    source, body = dataset(), network(None)
    streams = samplers.fixed(source, ways=ways, shots=shots, queries=queries)
    begun, method = start(source, body), keeper(ways)
    of = lifelong_judge.Streams(body, method, stages)
    return Experiment(
        None,
        streams.tasks._replace(train=begun.draw),
        outer(optimiser, rate, schedule, steps, 1000, clip),
        steps,
        batch,
        objective=begun.objective,
        judge=of.judge,
        measures=(of.measures,),
        pictures=(of.picture,),
        facts={
            "learner": f"{name_of(start)}, then {name_of(keeper)}",
            "dataset": source.name,
            **streams.facts,
            **begun.facts,
            "stages": stages,
            **source.facts,
        },
        title=f"{ways} classes of {source.name} in {stages} stages by {name_of(keeper)}",
        defaults={"episodes": 20, "validate_episodes": 4},
    )
