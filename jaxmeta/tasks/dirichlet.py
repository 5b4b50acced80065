"""Queries in unequal numbers of each class, as they come in practice.

Veilleux et al. 2021, Realistic Evaluation of Transductive Few-Shot Learning,
https://arxiv.org/abs/2204.11181.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial

from jaxmeta.checks import at_least, positive, refusal
from jaxmeta.core import Array, Episode, Key, Task
from jaxmeta.functional.rows import rows_at
from jaxmeta.tasks.inputs import unit_episode
from jaxmeta.tasks.names import as_partial, class_names, episode_classes
from jaxmeta.tasks.semi import check_by_class


def dirichlet_queries(
    task: Task, queries: int, *, concentration: float = 2.0
) -> Partial:
    """Keeps a fixed number of an episode's queries, their classes at random shares.

        p ~ Dirichlet(a, ..., a),   n_k = queries p_k, rounded by largest remainders

    Methods that classify queries together often assume, or are told, that each class has
    equally many; here that is not so. A class never has more than the task gives it:
    with `queries` of each class it is never short, with fewer what is above goes to the
    classes that are furthest below their share.

    In the authors' sampler support and queries of a class are drawn apart and may share
    examples; here they never do.

    Args:
      task: a task of classes, its queries class by class in equal numbers m, each class
        in random order, as `few_shot` gives them.
      queries: of all classes together; 75 in the paper.
      concentration: a > 0; 2 in the paper, infinity is as before.

    Returns:
      A task, `key -> Episode`, with the same support and `queries` query rows, class by
      class.

    Raises:
      ValueError: numbers out of range; more queries than the task has, or a task with
        weights, when it is called.

    References:
      Veilleux et al. 2021, arXiv:2204.11181, section 3.

    >>> from jaxmeta.testing import probe
    >>> task = dirichlet_queries(probe(ways=3, queries=8), 8)
    >>> int(task(jax.random.key(0)).query.targets.sum())
    8
    """
    at_least(1, queries=queries)
    positive(concentration=concentration)
    return Partial(_Dirichlet(queries, concentration), as_partial(task))


@dataclass(frozen=True)
class _Dirichlet:
    """The static half of a task, compared by value: an equal task is compiled once."""

    queries: int
    concentration: float

    def __call__(self, task: Task, key: Key) -> Episode:
        support, query = unit_episode(task(key))
        ways, each = check_by_class("task", query)
        if self.queries > ways * each:
            raise refusal("queries", self.queries, f"at most {ways * each}, the task's")
        # a number no task folds in: what is drawn here is independent of the episode
        own = jax.random.fold_in(key, 2**32 - 3)
        share = jax.random.dirichlet(own, jnp.full(ways, self.concentration))
        counts = rounded(share, self.queries, each)
        ends = jnp.cumsum(counts)
        row = jnp.arange(self.queries)
        owner = jnp.searchsorted(ends, row, side="right")
        return Episode(
            support, rows_at(query, owner * each + row - (ends - counts)[owner])
        )

    def class_names(self, task: Task) -> tuple[str, ...] | None:
        return class_names(task)

    def episode_classes(self, task: Task, key: Key) -> Array | None:
        return episode_classes(task, key)


def rounded(share: Array, total: int, most: int) -> Array:
    """Integers `[k]` that sum to `total`, as near to `total * share` as `most` allows.

    >>> rounded(jnp.array([0.5, 0.3, 0.2]), 7, 7).tolist()
    [4, 2, 1]
    """

    def give(i, counts):
        # one at a time to whom most is owed: without a bound, the largest remainders
        owed = jnp.where(counts < most, total * share - counts, -jnp.inf)
        return counts.at[jnp.argmax(owed)].add(1)

    return lax.fori_loop(0, total, give, jnp.zeros(share.shape, jnp.int32))
