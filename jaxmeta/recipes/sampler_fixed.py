"""Episodes of so many classes with equally many examples of each, and their sizes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxmeta import tasks
from jaxmeta.core import Batch, Episode, Task
from jaxmeta.data import Dataset
from jaxmeta.recipes.parts import Sizes, Source
from jaxmeta.runs.errors import ConfigError, one_line
from jaxmeta.runs.experiment import Tasks
from jaxmeta.runs.making import unread


class Drawn(NamedTuple):
    """Episodes, and how large they are.

    Attributes:
      tasks: to train on, to choose by, to test on.
      train: sizes of the training tasks.
      test: sizes of the others.
      facts: for result.json.
    """

    tasks: Tasks
    train: Sizes
    test: Sizes
    facts: dict[str, Any]


def fixed(
    source: Source,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    train_ways: int | None = None,
    train_shots: int | None = None,
    train_queries: int | None = None,
) -> Drawn:
    """So many classes, so many examples of each.

    Args:
      source: the classes.
      ways: classes in a task.
      shots: support examples of a class.
      queries: query examples of a class.
      train_ways: ways of the training tasks; None: as ways.
      train_shots: shots of the training tasks; None: as shots.
      train_queries: queries of the training tasks; None: as queries.
    """
    own = (train_ways, train_shots, train_queries)
    train, test = sizes_of(Sizes(ways, shots, queries), own)
    if source.draw is not None:
        draw = source.draw
        made = Tasks(*(draw(*sizes) for sizes in (train, test, test)))
    elif unread():
        return nothing_drawn(source, train, test)
    else:
        assert source.splits is not None
        names = ("train", "val", "test")
        made = Tasks(
            *(
                from_split(source, name, split, sizes, own if name == "train" else None)
                for name, split, sizes in zip(
                    names, source.splits, (train, test, test), strict=True
                )
            )
        )
    return Drawn(made, train, test, test._asdict())


def nothing_drawn(source: Source, train: Sizes, test: Sizes) -> Drawn:
    """Empty tasks of the right shapes, where data are not read."""
    made = Tasks(*(empty(source, sizes) for sizes in (train, test, test)))
    return Drawn(made, train, test, test._asdict())


def sizes_of(test: Sizes, own: tuple[int | None, ...]) -> tuple[Sizes, Sizes]:
    """Of the training tasks, where they have own ones, and of the others; checked."""
    train = Sizes(*(b if a is None else a for a, b in zip(own, test, strict=True)))
    least = Sizes(2, 1, 1)
    for name, value, low in zip(Sizes._fields, test, least, strict=True):
        if value < low:
            raise ConfigError(name, value, f"an integer >= {low}")
    for name, value, low, said in zip(Sizes._fields, train, least, own, strict=True):
        if said is not None and value < low:
            raise ConfigError(f"train_{name}", value, f"an integer >= {low}")
    return train, test


def from_split(source: Source, name: str, split: Dataset, sizes: Sizes, own) -> Task:
    """Tasks of one of the three parts; `own`: what is said of training's own sizes."""
    ways, shots, queries = sizes
    prefix = "train_" if own is not None else ""
    classes = len(split.counts) * (4 if source.rotations else 1)
    if ways > classes:
        field = "train_ways" if own is not None and own[0] is not None else "ways"
        wants = f"at most {classes}, the classes of the {name} split"
        if source.rule:
            wants += (
                f" ({source.rule}): add classes, lower ways or train_ways, or sort "
            )
            wants += "them into train, val and test yourself"
        raise ConfigError(field, ways, wants)
    short = [i for i, count in enumerate(split.counts) if count < shots + queries]
    if short:
        i = short[0]
        raise ConfigError(
            "data",
            f"{split.counts[i]} images in class {split.names[i]!r} of the {name} split",
            f"at least {shots + queries} = {prefix}shots + {prefix}queries",
        )
    with fitting(f"{prefix}ways"):
        return tasks.few_shot(split, ways, shots, queries, rotations=source.rotations)


@contextmanager
def fitting(field: str = "ways") -> Iterator[None]:
    """Around building a task: sizes that do not fit are what the user has said."""
    try:
        yield
    except ValueError as error:
        wants = one_line(error)
        raise ConfigError(field, "sizes that do not fit", wants) from error


def empty(source: Source, sizes: Sizes) -> Task:
    """Tasks of the right shapes with nothing in them."""
    if source.shape is None:
        raise ConfigError("data", "nothing", "the data: without them no shape is known")
    ways, shots, queries = sizes

    def batch(n: int) -> Batch:
        shape = source.shape or ()
        return Batch(jnp.zeros((ways * n, *shape)), jnp.zeros((ways * n, ways)))

    return lambda key: Episode(batch(shots), batch(queries))
