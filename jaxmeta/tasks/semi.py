"""Tasks with few labels: unlabelled examples beside the labelled, or none labelled.

Ren et al. 2018, https://arxiv.org/abs/1803.00676 (examples without labels); Zhang et al.
2018, https://papers.nips.cc/paper/7504 (and tasks without).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal, within
from jaxmeta.core import Array, Batch, Episode, Key, Task
from jaxmeta.functional.rows import Semi as Semi
from jaxmeta.tasks.inputs import unit_episode
from jaxmeta.tasks.names import as_partial, class_names, episode_classes


def labelled(inputs) -> Array:
    """The labelled inputs, whether or not there are others.

    >>> import jax.numpy as jnp
    >>> labelled(Semi(jnp.ones(2), jnp.ones(3))).shape
    (2,)
    """
    return inputs.labelled if isinstance(inputs, Semi) else inputs


def semi_supervised(
    task: Task, shots: int, queries: int, *, labelled_tasks: float = 1.0
) -> Partial:
    """Takes labels away from examples of a task, and from whole tasks.

    The first `shots` support and `queries` query examples of each class keep their
    label; the others become `Semi.unlabelled`. With probability `1 - labelled_tasks` an
    episode keeps none: its rows have weight 0, and all its examples are unlabelled. If
    that can happen, batches have weights, and `Semi.unlabelled` holds all examples in
    every episode, so that episodes have one shape.

    Args:
      task: any classification, class by class in equal numbers and without weights, as
        `few_shot` gives; a plain function will do.
      shots: labelled support examples of each class, at most what the task has.
      queries: labelled query examples of each class.
      labelled_tasks: fraction of the tasks that have labels at all.

    Returns:
      A task whose inputs are `Semi`.

    Raises:
      ValueError: numbers that do not fit the task.

    References:
      Zhang et al. 2018, MetaGAN, sections 3.3 (examples) and 5.2 (tasks).

    >>> import jax.numpy as jnp
    >>> from jaxmeta.testing import probe
    >>> episode = semi_supervised(probe(shots=3, queries=4), 1, 4)(jax.random.key(0))
    >>> jax.tree.map(jnp.shape, episode.support)  # doctest: +NORMALIZE_WHITESPACE
    Batch(inputs=Semi(labelled=(3, 8), unlabelled=(6, 8)), targets=(3, 3), weights=None)
    """
    at_least(1, shots=shots, queries=queries)
    within("[0, 1]", labelled_tasks=labelled_tasks)
    return Partial(_Semi(shots, queries, labelled_tasks), as_partial(task))


@dataclass(frozen=True)
class _Semi:
    """The static half of a task, compared by value: an equal task is compiled once."""

    shots: int
    queries: int
    labelled_tasks: float

    def __call__(self, task: Task, key: Key) -> Episode:
        drawing, labelling = jax.random.split(key)
        support, query = unit_episode(task(drawing))
        seen = jax.random.bernoulli(labelling, self.labelled_tasks)
        return Episode(
            self._part("shots", support, self.shots, seen),
            self._part("queries", query, self.queries, seen),
        )

    def _part(self, name: str, batch: Batch, keep: int, seen: Array) -> Batch:
        ways, each = check_by_class("task", batch)
        if keep > each:
            raise refusal(name, keep, f"at most {each}, what the task has")
        whole = self.labelled_tasks < 1

        def split(x):
            return x.reshape(ways, each, *x.shape[1:])

        def flat(x):
            return x.reshape(-1, *x.shape[2:])

        few = jax.tree.map(lambda x: flat(split(x)[:, :keep]), batch)
        rest = batch.inputs if whole else flat(split(batch.inputs)[:, keep:])
        weights = None
        if whole:
            weights = jnp.full(ways * keep, seen, few.targets.dtype)
        return Batch(Semi(few.inputs, rest), few.targets, weights)

    def class_names(self, task: Task) -> tuple[str, ...] | None:
        return class_names(task)

    def episode_classes(self, task: Task, key: Key) -> Array | None:
        return episode_classes(task, jax.random.split(key)[0])


def check_by_class(name: str, batch: Batch) -> tuple[int, int]:
    """Ways and examples of each, of rows that lie class by class in equal numbers.

    Raises:
      ValueError: for other shapes, and for rows with weights: some are no examples.
    """
    if batch.targets.ndim != 2 or len(batch.targets) % batch.targets.shape[1]:
        raise refusal(
            name,
            f"targets {list(batch.targets.shape)}",
            "[ways * m, ways], class by class in equal numbers",
        )
    if batch.weights is not None:
        raise refusal(name, "examples with weights", "a task without padding")
    ways = batch.targets.shape[1]
    return ways, len(batch.targets) // ways
