"""Episodes of one shape: padded to a size, or with a random number of rows that count."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Batch, Episode, Key, PyTree, Task
from jaxmeta.functional.rows import Semi, weights_of
from jaxmeta.tasks.inputs import unit_episode
from jaxmeta.tasks.names import as_partial, class_names, episode_classes


def padded(
    task: Task,
    *,
    support: int | None = None,
    query: int | None = None,
    ways: int | None = None,
) -> Partial:
    """Fills the episodes of a task up to fixed sizes, with rows of weight 0.

    Tasks of different sizes then share one compiled program, and a `mixture`. What is
    padding changes nothing; a batch that is given a size has weights, filled or not.

    Args:
      task: any task, of classes or of real values.
      support: rows of the support set; `None` leaves it.
      query: rows of the query set.
      ways: columns of the targets, of classification; `criteria.classification` takes
        out those without a support example.

    Returns:
      A task, `key -> Episode`.

    Raises:
      ValueError: a size below that of the task, when it is called.

    >>> from jaxmeta.tasks import sinusoid
    >>> episode = padded(sinusoid(2, 3), support=4)(jax.random.key(0))
    >>> episode.support.inputs.shape, episode.support.weights.tolist()
    ((4, 1), [1.0, 1.0, 0.0, 0.0])
    """
    sizes = {"support": support, "query": query, "ways": ways}
    at_least(1, **{name: n for name, n in sizes.items() if n is not None})
    return Partial(_Padded(support, query, ways), as_partial(task))


@dataclass(frozen=True)
class _Padded:
    """The static half of a task, compared by value: an equal task is compiled once."""

    support: int | None
    query: int | None
    ways: int | None

    def __call__(self, task: Task, key: Key) -> Episode:
        support, query = unit_episode(task(key))
        return Episode(
            self._filled("support", support, self.support),
            self._filled("query", query, self.query),
        )

    def _filled(self, name: str, batch: Batch, size: int | None) -> Batch:
        inputs, targets, weights = batch
        if self.ways is not None:
            targets = _more("ways", targets, self.ways, axis=targets.ndim - 1)
        if size is None:
            return Batch(inputs, targets, weights)

        def fill(x: Array) -> Array:
            return _more(name, x, size, axis=0)

        weights = fill(weights_of(batch) if weights is None else weights)
        return Batch(_of_rows(fill, inputs), fill(targets), weights)

    def class_names(self, task: Task) -> tuple[str, ...] | None:
        return class_names(task)

    def episode_classes(self, task: Task, key: Key) -> Array | None:
        classes = episode_classes(task, key)
        if classes is None or self.ways is None:
            return classes
        return _more("ways", classes, self.ways, axis=0, value=-1)


def varying(
    task: Task,
    *,
    support: tuple[int, int] | None = None,
    query: tuple[int, int] | None = None,
) -> Partial:
    """Lets a random number of examples count, from one to another, in each episode.

        k ~ U{low, ..., high},   weights 1 for k rows, each choice of rows equally likely

    The rest gets weight 0, so that all sizes share one compiled program: contexts of any
    size, as neural processes are trained on.

    Args:
      task: any task; weights that it has are kept for the rows that count.
      support: `(low, high)`, at most the rows that the task gives; `None` leaves them.
      query: the same for the queries.

    Returns:
      A task, `key -> Episode`.

    Raises:
      ValueError: bounds that are no integers with 1 <= low <= high, or, when the task is
        called, a `high` above its rows.

    References:
      Garnelo et al. 2018, Conditional Neural Processes, arXiv:1807.01613, section 4.1.

    >>> from jaxmeta.tasks import sinusoid
    >>> episode = varying(sinusoid(10), support=(3, 10))(jax.random.key(0))
    >>> episode.support.inputs.shape, 3 <= episode.support.weights.sum() <= 10
    ((10, 1), Array(True, dtype=bool))
    """
    support, query = check_bounds("support", support), check_bounds("query", query)
    return Partial(_Varying(support, query), as_partial(task))


def of_sizes(sampler, shots, queries, *options) -> Partial:
    """A task of points whose numbers may be `(low, high)`.

    Args:
      sampler: `(shots, queries, *options) -> (key -> Episode)`, compared by value.
      shots: a number, or two.
      queries: likewise.
      *options: for the sampler.
    """
    ranged = [isinstance(size, tuple | list) for size in (shots, queries)]
    support = check_bounds("shots", shots) if ranged[0] else None
    query = check_bounds("queries", queries) if ranged[1] else None
    shots, queries = support[1] if support else shots, query[1] if query else queries
    at_least(1, shots=shots, queries=queries)
    task = Partial(sampler(shots, queries, *options))
    return varying(task, support=support, query=query) if any(ranged) else task


def check_bounds(name: str, bounds) -> tuple[int, int] | None:
    """`(low, high)` as a tuple; raises `ValueError` for bounds that are none."""
    if bounds is None:
        return None
    wants = "two integers (low, high) with 1 <= low <= high"
    try:
        low, high = bounds
        at_least(1, low=low)
        at_least(low, high=high)
    except (TypeError, ValueError):
        raise refusal(name, bounds, wants) from None
    return int(low), int(high)


@dataclass(frozen=True)
class _Varying:
    """The static half of a task, compared by value: an equal task is compiled once."""

    support: tuple[int, int] | None
    query: tuple[int, int] | None

    def __call__(self, task: Task, key: Key) -> Episode:
        episode = unit_episode(task(key))
        # a number no task folds in: what is drawn here is independent of the episode
        keys = jax.random.split(jax.random.fold_in(key, 2**32 - 2))
        return Episode(
            _some("support", episode.support, self.support, keys[0]),
            _some("query", episode.query, self.query, keys[1]),
        )

    def class_names(self, task: Task) -> tuple[str, ...] | None:
        return class_names(task)

    def episode_classes(self, task: Task, key: Key) -> Array | None:
        return episode_classes(task, key)


def _some(name: str, batch: Batch, bounds, key: Key) -> Batch:
    if bounds is None:
        return batch
    (low, high), rows = bounds, len(batch.targets)
    if high > rows:
        raise refusal(name, bounds, f"at most {rows}, the rows that the task gives")
    number_key, row_key = jax.random.split(key)
    number = jax.random.randint(number_key, (), low, high + 1)
    counted = jax.random.permutation(row_key, rows) < number
    weights = weights_of(batch) if batch.weights is None else batch.weights
    counted = counted.reshape(-1, *(1,) * (weights.ndim - 1))
    return batch._replace(weights=jnp.where(counted, weights, 0))


def _of_rows(function, inputs: PyTree) -> PyTree:
    """`function` of every leaf that has a row for each row of the targets."""
    if isinstance(inputs, Semi):
        return inputs._replace(labelled=jax.tree.map(function, inputs.labelled))
    return jax.tree.map(function, inputs)


def _more(name: str, x: Array, size: int, axis: int, value: float = 0) -> Array:
    have = x.shape[axis]
    if size < have:
        raise refusal(name, size, f"at least {have}, what the task gives")
    sides = [(0, 0)] * x.ndim
    sides[axis] = (0, size - have)
    return jnp.pad(x, sides, constant_values=value)
