"""Few-shot classification: any learner, any network, any set of classes."""

from collections.abc import Callable
from typing import Annotated, Any

from jaxmeta import criteria, models
from jaxmeta.core import Meta, MetaLearner
from jaxmeta.models.moved import mergeable
from jaxmeta.recipes import at_test, methods, networks, samplers, sources
from jaxmeta.recipes.assembly import assembled
from jaxmeta.recipes.outer import Halves, Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Method, Network, Room, Side
from jaxmeta.runs.experiment import Experiment, Merge
from jaxmeta.runs.options import use
from jaxmeta.runs.registry import recipe


@recipe("few-shot")
def few_shot(
    *,
    dataset: Annotated[Callable[..., Any], sources.ANY] = use("glyphs"),
    sampler: Annotated[Callable[..., Any], samplers.ANY] = use("fixed"),
    network: Annotated[Network, networks.ANY] = use("conv4"),
    learner: Annotated[Callable[..., Any], methods.ANY] = use("protonet"),
    test_time: Annotated[Callable[..., Any], at_test.ANY] = use("nothing"),
    steps: int = 1000,
    batch: int = 16,
    optimiser: Optimiser = "adam",
    rate: float = 1e-3,
    schedule: Schedule = "constant",
    halve_every: Halves = 1000,
    clip: float | None = None,
) -> Experiment:
    """Any learner on any set of classes: --learner, --network, --dataset.

    Args:
      dataset: where classes come from.
      sampler: how episodes are drawn.
      network: the network.
      learner: the method.
      test_time: what happens to a task of validation and test before it is adapted to.
      steps: outer steps.
      batch: tasks an outer step averages over.
      optimiser: of the outer loop.
      rate: its learning rate.
      schedule: how the rate falls: constant, cosine or linear to 0, halving.
      halve_every: outer steps between halvings, where schedule is halving.
      clip: largest norm of the outer gradient; None: not clipped.

    Returns:
      An `Experiment`.
    """
    source = dataset()
    drawn = sampler(source)
    train, test = drawn.train, drawn.test
    room = Room(
        network,
        Side(train.ways, train.ways * train.shots),
        Side(test.ways, test.ways * test.shots),
        criteria.classification,
        steps,
        source.shape,
    )
    method: Method = test_time(learner(room))
    methods.check_head(method, train.ways, test.ways, "train_ways")
    name = methods.name_of(learner)
    plain = methods.name_of(test_time) == "nothing"
    way, shot = drawn.facts["ways"], drawn.facts["shots"]
    return assembled(
        method,
        drawn.tasks,
        outer(optimiser, rate, schedule, steps, halve_every, clip, method.outer),
        steps,
        batch,
        pictures=source.pictures,
        facts={
            "learner": name,
            "test_time": methods.name_of(test_time),
            "dataset": source.name,
            **drawn.facts,
            **source.facts,
            "train_ways": drawn.facts.get("train_ways", train.ways),
        },
        title=f"{name}, {way}-way {shot}-shot on {source.name}",
        reader=source.reader,
        merge=merging(learner, room, method) if plain else None,
    )


def merging(learner: Callable[..., Method], room: Room, method: Method) -> Merge | None:
    """How adapters are written into the network of a learner that compares its features.

    One that moves the network itself, task by task, goes on to need them.
    """
    known = method.embedding
    if known is None or not mergeable(known.model):
        return None

    def merge(meta: Meta) -> tuple[MetaLearner, Meta]:
        inside, part = models.merged(known.model, known.where(meta))
        return learner(room._replace(network=lambda outputs: inside)).tester, known.put(
            meta, part
        )

    return merge
