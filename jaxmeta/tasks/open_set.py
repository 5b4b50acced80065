"""Episodes in which some are asked about that are none of the classes: strangers.

After Liu et al. 2020, Few-Shot Open-Set Recognition using Meta-Learning,
https://arxiv.org/abs/2005.13713: half of what is asked about is of other classes.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import jax
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Batch, Episode, Key, PyTree, Task
from jaxmeta.tasks.names import as_partial


class OpenEpisode(NamedTuple):
    """A task, and queries of classes that are not in its support.

    Attributes:
      known: the task: support and query are of the same classes.
      strangers: inputs `[m, ...]` of other classes.
    """

    known: Episode
    strangers: PyTree


class Resizable(Protocol):
    """What the static half of a task offers, if its classes make tasks of other sizes.

    As in `KnowsClasses`, both methods get the arguments that the `Partial` holds.
    """

    def class_count(self, *held) -> int | None:
        """How many classes an episode can have at most; `None`: any number."""
        ...

    def resized(self, ways: int, shots: int, queries: int, *held) -> Partial:
        """The task of these sizes. Rows lie class by class, without weights.

        Raises:
          ValueError: classes, or examples of one, that do not suffice.
        """
        ...


def class_count(task: Task) -> int | None:
    """How many classes an episode of `resized` can have; `None`: any number.

    Raises:
      TypeError: a task of which no other sizes can be drawn.
    """
    task, held = _resizable(task)
    return held.class_count(*task.args, **task.keywords)


def resized(task: Task, ways: int, shots: int, queries: int) -> Partial:
    """The same classes in episodes of other sizes.

    Args:
      task: `few_shot`, `glyphs`, `other_hands`, `within_groups`, `meta_dataset` (whose
        sizes then cease to vary), or one's own that is `Resizable`.
      ways: classes in an episode.
      shots: support examples of each.
      queries: query examples of each.

    Returns:
      A task, `key -> Episode`, its rows class by class.

    Raises:
      TypeError: a task of which no other sizes can be drawn.
      ValueError: classes, or examples of one, that do not suffice.

    >>> import numpy as np
    >>> from jaxmeta.data import from_counts
    >>> from jaxmeta.tasks import few_shot
    >>> data = from_counts(np.zeros((12, 2)), [4, 4, 4], ("a", "b", "c"))
    >>> resized(few_shot(data, 3, 1, 3), 2, 1, 2)(jax.random.key(0)).query.targets.shape
    (4, 2)
    """
    at_least(1, ways=ways, shots=shots, queries=queries)
    task, held = _resizable(task)
    return held.resized(ways, shots, queries, *task.args, **task.keywords)


def open_set(
    task: Task, ways: int, shots: int, queries: int, *, strangers: int = 5
) -> Partial:
    """Builds episodes with strangers out of the classes of a task.

    An episode of `ways + strangers` classes is drawn as the task draws it; the last of
    them are taken out of the support, and their queries are the strangers. So no
    stranger is of a class of the support, and all else is alike: the alphabet, the hands.

    Args:
      task: as of `resized`.
      ways: classes in the support.
      shots: support examples of each.
      queries: query examples of each class, of strangers too.
      strangers: classes beside them.

    Returns:
      `key -> OpenEpisode`.

    Raises:
      TypeError: a task of which no other sizes can be drawn.
      ValueError: a number below 1; classes, or examples of one, that do not suffice.

    >>> import numpy as np
    >>> from jaxmeta.data import from_counts
    >>> from jaxmeta.tasks import few_shot
    >>> data = from_counts(np.zeros((12, 2)), [4, 4, 4], ("a", "b", "c"))
    >>> task = open_set(few_shot(data, 3, 1, 3), 2, 1, 3, strangers=1)
    >>> found = task(jax.random.key(0))
    >>> found.known.query.targets.shape, found.strangers.shape
    ((6, 2), (3, 2))
    """
    at_least(1, ways=ways, strangers=strangers)
    whole = resized(task, ways + strangers, shots, queries)
    return Partial(_OpenSet(ways, shots, queries), whole)


@dataclass(frozen=True)
class _OpenSet:
    """The static half of a task, compared by value: an equal task is compiled once."""

    ways: int
    shots: int
    queries: int

    def __call__(self, task: Task, key: Key) -> OpenEpisode:
        support, query = task(key)
        known = Episode(
            self._known(support, self.shots), self._known(query, self.queries)
        )
        at = self.ways * self.queries
        return OpenEpisode(known, jax.tree.map(lambda x: x[at:], query.inputs))

    def _known(self, batch: Batch, each: int) -> Batch:
        rows = self.ways * each
        inputs = jax.tree.map(lambda x: x[:rows], batch.inputs)
        return Batch(inputs, batch.targets[:rows, : self.ways])


def _resizable(task: Task) -> tuple[Partial, Resizable]:
    task = as_partial(task)
    if not hasattr(task.func, "resized"):
        wants = (
            "few_shot, glyphs, other_hands, within_groups, meta_dataset, or one's own "
            "with `resized` (jaxmeta.tasks.open_set.Resizable)"
        )
        name = getattr(task.func, "__name__", type(task.func).__name__)
        raise refusal(
            "task", f"{name}, of which no other sizes are known", wants, TypeError
        )
    return task, task.func  # type: ignore[return-value]
