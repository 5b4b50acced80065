"""Tasks with few labels: unlabelled examples beside the labelled, or none labelled.

Ren et al. 2018, https://arxiv.org/abs/1803.00676 (examples without labels); Zhang et al.
2018, https://papers.nips.cc/paper/7504 (and tasks without).
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
from jax.tree_util import Partial

from jaxmeta.core import Array, Batch, Episode, Key, Task


class Semi(NamedTuple):
    """Inputs of a batch with unlabelled examples beside the labelled ones.

    Attributes:
      labelled: `[n, ...]`, a row for each row of the targets.
      unlabelled: `[u, ...]`, all of them real examples of the task.
    """

    labelled: Array
    unlabelled: Array


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
    episode keeps none: its target rows are zero, and all its examples are unlabelled. If
    that can happen, `Semi.unlabelled` holds all examples in every episode, so that
    episodes have one shape.

    Args:
      task: classification, class by class in equal numbers, as `few_shot` gives.
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
    >>> jax.tree.map(jnp.shape, episode.support)
    Batch(inputs=Semi(labelled=(3, 8), unlabelled=(6, 8)), targets=(3, 3))
    """
    if not 0.0 <= labelled_tasks <= 1.0:
        raise ValueError(f"labelled_tasks: got {labelled_tasks}, wants 0 to 1")
    return Partial(_Semi(shots, queries, labelled_tasks), task)


@dataclass(frozen=True)
class _Semi:
    """The static half of a task, compared by value: an equal task is compiled once."""

    shots: int
    queries: int
    labelled_tasks: float

    def __call__(self, task: Task, key: Key) -> Episode:
        drawing, labelling = jax.random.split(key)
        support, query = task(drawing)
        seen = jax.random.bernoulli(labelling, self.labelled_tasks)
        return Episode(
            self._part("shots", support, self.shots, seen),
            self._part("queries", query, self.queries, seen),
        )

    def _part(self, name: str, batch: Batch, keep: int, seen: Array) -> Batch:
        ways = batch.targets.shape[1]
        each = batch.targets.shape[0] // ways
        if not 1 <= keep <= each:
            raise ValueError(
                f"{name}: got {keep}, wants 1 to {each}, what the task has"
            )
        whole = self.labelled_tasks < 1

        def split(x):
            return x.reshape(ways, each, *x.shape[1:])

        def flat(x):
            return x.reshape(-1, *x.shape[2:])

        few = jax.tree.map(lambda x: flat(split(x)[:, :keep]), batch)
        rest = batch.inputs if whole else flat(split(batch.inputs)[:, keep:])
        return Batch(Semi(few.inputs, rest), few.targets * seen)
