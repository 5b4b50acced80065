"""An experiment: everything that decides what a run learns, as one value."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import optax

from jaxmeta.core import Key, Meta, MetaLearner, Objective, PyTree
from jaxmeta.learners.probabilistic import Believe
from jaxmeta.report.finished import Finished
from jaxmeta.runs.reader import Reader
from jaxmeta.train import Evaluation


class Tasks(NamedTuple):
    """Three distributions over tasks; no class of the test should be in the others.

    Attributes:
      train: what an outer step draws from: `key -> Episode`, or `key -> anything` that
        the objective takes. Or batches made on the host: an object with
        `batch(step) -> pytree`, the episodes of outer step t stacked (`HostBatches`).
      val: what chooses the parameters; `None`: the last ones are kept.
      test: what is reported; `None`: as `val`.
    """

    train: Any
    val: Any = None
    test: Any = None


class HostBatches(NamedTuple):
    """Episodes that are made on the host, a batch for each outer step.

    Attributes:
      batch: `step -> Episode` of NumPy arrays `[batch, n, ...]`; a pure function of the
        step, so that a run that was stopped goes on as if it had not been. Item access
        of a `jaxmeta.tasks.stream` is one: `HostBatches(stream.__getitem__)`.
    """

    batch: Callable[[int], PyTree]


Measure = Callable[[Finished], dict[str, Any]]
"""More of `result.json`: a trained run -> name -> plain value."""

Picture = Callable[[Finished], Any]
"""A part of the page: a trained run -> HTML, or `None` for nothing."""

Judge = Callable[[Meta, Any, Key, int], Evaluation]
"""`(meta, tasks, key, episodes) -> Evaluation`, where it is not `jaxmeta.evaluate`."""

Merge = Callable[[Meta], tuple[MetaLearner, Meta]]
"""A learner without what moves its network, and parameters with which it does the same."""


class Experiment(NamedTuple):
    """What a run learns from what, and how it is judged. Pure values; nothing has run.

    A function that returns one is a recipe: its keyword arguments are the options of the
    command line. Options of every run (seed, folder, devices, checkpoints, what a NaN
    does) are not here: `Settings` are the runner's.

    Attributes:
      learner: the method; `None` where `objective` and `judge` need none.
      tasks: to train on, to choose by, to test on.
      outer: the outer optimiser.
      steps: outer steps.
      batch: tasks (draws) an outer step.
      objective: what hands over gradients; `train.episodic(learner)` by default.
        Pretraining, domain adaptation, reinforcement learning bring their own.
      tester: the learner as it is judged; `learner` by default. It takes the same `Meta`.
      start: parameters to start from (pretrained); by default those of `objective.init`.
      judge: how parameters are judged; `jaxmeta.evaluate` of the tester by default.
      predictive: what the tester believes, see `jaxmeta.evaluate`.
      together: see `train.episodic`.
      chunk: episodes judged side by side; `None`: see `jaxmeta.evaluate`.
      at_steps: k -> the tester with k inner steps, where it has any: for the picture of
        the score over inner steps, and for finding where a number ceased to be finite.
      inner_steps: `(in training, in the test)` for learners that have inner steps.
      measures: more of `result.json`.
      pictures: more of the page, in this order, from `jaxmeta.report` or of one's own.
      facts: plain values for `result.json` and the page: data set, ways, shots, queries.
      title: what was done, in a line, for the page: "ProtoNet, 5-way 1-shot on Omniglot".
      reader: how someone's own files become inputs: what `jaxmeta adapt` needs.
      head: whether the number of classes is fixed by training.
      merge: of a network that few parameters move: the tester on that network without
        them, and a `Meta` for it that does the same, for `jaxmeta export`; a `TypeError`
        where there is none.
      defaults: of `Settings` that are `None`, where this experiment wants others than
        the usual: `{"episodes": 1000, "chunk": 500}`. What the user says wins.
    """

    learner: MetaLearner | None
    tasks: Tasks
    outer: optax.GradientTransformation
    steps: int = 1000
    batch: int = 16
    objective: Objective | None = None
    tester: MetaLearner | None = None
    start: Meta | None = None
    judge: Judge | None = None
    predictive: Believe | None = None
    together: bool = False
    chunk: int | None = None
    at_steps: Callable[[int], MetaLearner] | None = None
    inner_steps: tuple[int, int] | None = None
    measures: tuple[Measure, ...] = ()
    pictures: tuple[Picture, ...] = ()
    facts: Mapping[str, Any] = MappingProxyType({})
    title: str = ""
    reader: Reader | None = None
    head: bool = False
    merge: Merge | None = None
    defaults: Mapping[str, Any] = MappingProxyType({})


def tested(tasks: Tasks) -> Any:
    """What is reported on: the test tasks, or those for validation."""
    return tasks.val if tasks.test is None else tasks.test


def finished(
    experiment: Experiment, meta: Meta, key: Key, drawing: Key, found: Evaluation
) -> Finished:
    """What the measures and pictures of an experiment are given."""
    return Finished(
        experiment.tester or experiment.learner,
        meta,
        tested(experiment.tasks),
        key,
        drawing,
        found.episodes,
        found,
        experiment.at_steps,
        experiment.inner_steps,
    )
