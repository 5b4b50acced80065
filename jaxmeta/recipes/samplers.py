"""How episodes are drawn from classes: `--sampler NAME`."""

from collections.abc import Callable
from typing import Any

from jaxmeta import tasks
from jaxmeta.core import Array, Key, Task
from jaxmeta.data import Dataset
from jaxmeta.functional import augment as images
from jaxmeta.recipes.parts import Sizes, Source
from jaxmeta.recipes.sampler_dirichlet import dirichlet
from jaxmeta.recipes.sampler_fixed import Drawn, fitting, fixed, nothing_drawn, sizes_of
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Tasks
from jaxmeta.runs.making import unread
from jaxmeta.runs.options import OneOf


def meta_dataset(
    source: Source,
    *,
    min_ways: int = 5,
    max_ways: int = 20,
    max_queries: int = 10,
    max_support: int = 100,
    max_contribution: int = 20,
) -> Drawn:
    """Ways, shots and imbalance vary, by the rules of Meta-Dataset.

    Args:
      source: the classes.
      min_ways: fewest classes in an episode.
      max_ways: most classes, and the outputs of a head.
      max_queries: most queries of a class.
      max_support: most support examples of an episode.
      max_contribution: what one class can add to the size of the support.
    """
    if source.splits is None:
        wants = "fixed: this set is drawn, or has not been read"
        raise ConfigError("sampler", "meta_dataset", wants)
    sizes: dict[str, Any] = dict(
        min_ways=min_ways,
        max_ways=max_ways,
        max_queries=max_queries,
        max_support=max_support,
        max_contribution=max_contribution,
    )
    made = Tasks(*(tasks.meta_dataset(part, **sizes) for part in source.splits))
    width = Sizes(max_ways, max(max_support // max_ways, 1), max_queries)
    facts = {
        "ways": f"{min_ways} to {max_ways}",
        "shots": "varying",
        "queries": max_queries,
        "train_ways": f"{min_ways} to {max_ways}",
    }
    return Drawn(made, width, width, facts)


def within_groups(
    source: Source,
    *,
    ways: int = 20,
    shots: int = 1,
    queries: int = 1,
    train_queries: int | None = None,
    warp: bool = False,
    augment: bool = True,
) -> Drawn:
    """Classes of one group, an alphabet; the queries are drawn by other hands.

    Args:
      source: the classes.
      ways: classes in a task.
      shots: support examples of a class, each by another hand.
      queries: query examples of a class, by hands that made no support example.
      train_queries: of the training tasks; None: as queries.
      warp: whether training warps whole groups into new ones.
      augment: whether training warps each image by itself, as another hand would.
    """
    if source.group is None or (source.splits is None and not unread()):
        wants = "fixed: the classes of this set have no groups"
        raise ConfigError("sampler", "within_groups", wants)
    train, test = sizes_of(Sizes(ways, shots, queries), (None, None, train_queries))
    if source.splits is None:
        return nothing_drawn(source, train, test)
    group = source.group

    def drawn(split: Dataset, sizes: Sizes, **options) -> Task:
        names = [group(name) for name in split.names]
        with fitting():
            return tasks.within_groups(
                split, *sizes, groups=names, hands=True, **options
            )

    first = drawn(
        source.splits.train,
        train,
        rotations=source.rotations,
        warp=_another_group if warp else None,
    )
    if augment:
        first = tasks.augmented(first, images.warp)
    rest = (drawn(split, test) for split in source.splits[1:])
    return Drawn(Tasks(first, *rest), train, test, test._asdict())


def other_hands(
    source: Source,
    *,
    ways: int = 5,
    shots: int = 1,
    queries: int = 10,
    train_ways: int | None = None,
    train_shots: int | None = None,
    train_queries: int | None = None,
    warp: bool = False,
    augment: bool = False,
) -> Drawn:
    """The support is by one hand, a speaker; the queries are by others.

    Args:
      source: the classes.
      ways: classes in a task.
      shots: support examples of a class, all by one hand.
      queries: query examples of a class, by any other hands.
      train_ways: ways of the training tasks; None: as ways.
      train_shots: shots of the training tasks; None: as shots.
      train_queries: queries of the training tasks; None: as queries.
      warp: whether training warps whole classes and whole hands into new ones.
      augment: whether training changes each example by itself.
    """
    if source.hands is None and not (unread() and source.reader is not None):
        wants = "fixed: of this set nobody knows who made an example"
        raise ConfigError("sampler", "other_hands", wants)
    own = (train_ways, train_shots, train_queries)
    train, test = sizes_of(Sizes(ways, shots, queries), own)
    if source.splits is None or source.hands is None:
        return nothing_drawn(source, train, test)
    hands = source.hands

    def drawn(split: Dataset, sizes: Sizes, by, **warps) -> Task:
        with fitting():
            return tasks.other_hands(split, *sizes, hands=by, **warps)

    warps = {"warp_class": hands.warp_class, "warp_hand": hands.warp_hand}
    first = drawn(source.splits.train, train, hands.train, **(warps if warp else {}))
    if augment and hands.each is not None:
        first = tasks.augmented(first, hands.each)
    val = drawn(source.splits.val, test, hands.val)
    last = drawn(source.splits.test, test, hands.test)
    return Drawn(Tasks(first, val, last), train, test, test._asdict())


def _another_group(key: Key, image: Array) -> Array:
    """A warp large enough that what it makes of a character is another one."""
    return images.warp(key, image, degrees=20.0, shear=0.3, strength=0.04)


SAMPLERS: dict[str, Callable[..., Drawn]] = {
    "fixed": fixed,
    "dirichlet": dirichlet,
    "meta_dataset": meta_dataset,
    "within_groups": within_groups,
    "other_hands": other_hands,
}
"""Every way to draw episodes by name."""

ANY = OneOf(SAMPLERS)
