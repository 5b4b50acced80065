"""Few-shot classification: any learner, any network, any set of classes."""

from collections.abc import Callable
from typing import Annotated, Any

from jaxmeta import criteria
from jaxmeta.recipes import at_test, methods, networks, samplers, sources
from jaxmeta.recipes.assembly import assembled
from jaxmeta.recipes.outer import Optimiser, Schedule, outer
from jaxmeta.recipes.parts import Method, Network, Room, Side
from jaxmeta.runs.experiment import Experiment
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
    halve_every: int = 1000,
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
      schedule: how the rate falls: not, by a half cosine to 0, linearly to 0, by halves.
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
    )
