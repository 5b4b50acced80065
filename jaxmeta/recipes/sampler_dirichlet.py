"""Tests that ask of their classes in unequal numbers: `--sampler dirichlet`."""

import math

from jaxmeta.core import Task
from jaxmeta.data import Dataset
from jaxmeta.recipes.parts import Sizes, Source
from jaxmeta.recipes.sampler_fixed import Drawn, fixed, from_split
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.making import unread
from jaxmeta.tasks import dirichlet_queries


def dirichlet(
    source: Source,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    concentration: float = 2.0,
    at_most: int | None = None,
    train_ways: int | None = None,
    train_shots: int | None = None,
    train_queries: int | None = None,
) -> Drawn:
    """As fixed, but a test asks of its classes in unequal numbers, as practice does.

    Args:
      source: the classes.
      ways: classes in a task.
      shots: support examples of a class.
      queries: query examples of a class on average: a test has ways times as many.
      concentration: of the Dirichlet that their shares are drawn from; 2 in Veilleux 2021.
      at_most: query examples of one class at most; None: three times queries, or what the
        smallest class has left by its support.
      train_ways: ways of the training tasks; None: as ways.
      train_shots: shots of the training tasks; None: as shots.
      train_queries: queries of the training tasks, equally many a class; None: as queries.
    """
    if not 0 < concentration < math.inf:
        raise ConfigError("concentration", concentration, "a finite number > 0")
    own: dict[str, int | None] = {
        "train_ways": train_ways,
        "train_shots": train_shots,
        "train_queries": train_queries,
    }
    drawn = fixed(source, ways=ways, shots=shots, queries=queries, **own)
    facts = drawn.facts | {"concentration": concentration}
    if source.draw is None and unread():
        return drawn._replace(facts=facts)

    def most(left: int, why: str) -> int:
        """Query examples of a class at most."""
        if at_most is None:
            return min(3 * queries, left)
        if not queries <= at_most <= left:
            wants = f"an integer from {queries}, the queries, to {left}, {why}"
            raise ConfigError("at_most", at_most, wants)
        return at_most

    def of_split(name: str, split: Dataset) -> Task:
        left = min(ways * queries, min(split.counts) - shots)
        sizes = Sizes(ways, shots, most(left, f"what a class of the {name} split has"))
        return from_split(source, name, split, sizes, None)

    if source.draw is not None:
        wide = (source.draw(ways, shots, most(ways * queries, "all of them")),) * 2
    else:
        assert source.splits is not None
        wide = (
            of_split("val", source.splits.val),
            of_split("test", source.splits.test),
        )
    total = ways * queries
    val, test = (
        dirichlet_queries(task, total, concentration=concentration) for task in wide
    )
    return drawn._replace(tasks=drawn.tasks._replace(val=val, test=test), facts=facts)
