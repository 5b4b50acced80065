"""What a few-shot recipe is put together from: a source, a network, a method."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import optax

from jaxmeta import data
from jaxmeta.core import Criterion, Meta, MetaLearner, Model, Task
from jaxmeta.functional.augment import Augment
from jaxmeta.learners.probabilistic import Believe
from jaxmeta.runs.experiment import Measure, Picture
from jaxmeta.runs.reader import Reader

Network = Callable[..., Model]
"""`outputs -> Model`: a network with so many outputs; `None`: its features alone."""


class Hands(NamedTuple):
    """Who or what made each example of the three parts of a source.

    Attributes:
      train: int `[n]`.
      val: int `[n]`.
      test: int `[n]`.
      warp_class: makes another class of one, for training, see `tasks.other_hands`.
      warp_hand: makes another hand of one.
      each: changes each example by itself.
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray
    warp_class: Augment | None = None
    warp_hand: Augment | None = None
    each: Augment | None = None


class Source(NamedTuple):
    """Where classes come from.

    Attributes:
      name: for titles: "Omniglot".
      splits: examples grouped by class, in three parts; `None` where tasks are drawn.
        Of few classes the parts may share them (`facts` say so): other examples then.
      draw: `(ways, shots, queries) -> Task`, where tasks are made on the fly.
      shape: of an example, where it is an image: `(size, size, channels)`.
      rotations: whether each class is four, by quarter turns.
      group: class name -> the group that it is one of, where classes have groups in
        which example `i` of every class is by the same hand.
      hands: who made each example, where that is known.
      rule: how classes were split, where their owner has not done it.
      reader: how someone's own files become inputs.
      pictures: parts of the page.
      facts: for result.json.
    """

    name: str
    splits: data.Splits | None = None
    draw: Callable[[int, int, int], Task] | None = None
    shape: tuple[int, ...] | None = None
    rotations: bool = False
    group: Callable[[str], str] | None = None
    hands: Hands | None = None
    rule: str = ""
    reader: Reader | None = None
    pictures: tuple[Picture, ...] = ()
    facts: Mapping[str, Any] = MappingProxyType({})


class Sizes(NamedTuple):
    """How many: classes, and examples of each class."""

    ways: int
    shots: int
    queries: int


class Side(NamedTuple):
    """Of training, or of the test: numbers of outputs and of support examples."""

    outputs: int
    support: int


class Room(NamedTuple):
    """What a method is built in.

    Attributes:
      network: `outputs -> Model`.
      train: outputs (ways, or the width of real-valued targets) and support examples of
        a training task.
      test: of a task of the test.
      criterion: what tasks are judged by.
      steps: outer steps, for schedules.
      shape: of an image; `None` for inputs that are none.
      inner: what inner loops descend; `None`: the criterion's loss.
    """

    network: Network
    train: Side
    test: Side
    criterion: Criterion
    steps: int
    shape: tuple[int, ...] | None = None
    inner: Criterion | None = None


class Embedding(NamedTuple):
    """The features that a learner tells classes by.

    Attributes:
      model: the network without a head.
      where: its part of the learner's `Meta`.
      put: `(learner's Meta, another part) -> Meta` with it in its place.
    """

    model: Model
    where: Callable[[Meta], Meta]
    put: Callable[[Meta, Meta], Meta]


class Method(NamedTuple):
    """A learner, and what a run does with it.

    Attributes:
      learner: for training.
      tester: for validation and test: the same `Meta`.
      at_steps: k -> the tester with k inner steps, where it has any.
      inner_steps: `(in training, in the test)`.
      predictive: what the tester believes.
      measures: more of result.json.
      head: whether the number of classes is fixed by training.
      together: see `train.episodic`.
      outer: `(tx, rate -> schedule) -> tx`, where one optimiser is not enough.
      embedding: its features, where it is known to compare them.
    """

    learner: MetaLearner
    tester: MetaLearner
    at_steps: Callable[[int], MetaLearner] | None = None
    inner_steps: tuple[int, int] | None = None
    predictive: Believe | None = None
    measures: tuple[Measure, ...] = ()
    head: bool = False
    together: bool = False
    outer: Callable[..., optax.GradientTransformation] | None = None
    embedding: Embedding | None = None
