"""Episodes of a set that does not fit in memory, made on the host by Grain.

Grain is optional: `pip install jaxmeta[grain]`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Batch, Episode
from jaxmeta.data.arrays import check_labels, unit_range


class Source(Protocol):
    """Examples by number: a list of files, a memory map, a TFDS data source."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def stream(
    source: Source,
    labels: Sequence[int] | np.ndarray,
    ways: int,
    shots: int,
    queries: int,
    *,
    steps: int,
    batch: int,
    read: Callable[[Any], np.ndarray] = np.asarray,
    seed: int = 0,
):
    """Builds a Grain data set of batches of few-shot episodes.

    Item `t` is the batch of outer step `t`, a pure function of `(seed, t)`: the sequence
    is the same however it is read, and a run is resumed by asking for later items, by
    `dataset[t]` or by the state of the iterator. Only the examples of a batch are read.

        dataset = stream(files, labels, 5, 1, 15, steps=60_000, batch=4, read=decode)
        step = jax.jit(trainer.step)
        for t, episodes in enumerate(dataset.to_iter_dataset()):
            state, metrics = step(state, episodes, jax.random.fold_in(key, t))

    To be judged on, an item is `batch` episodes: `[batch, ways * m, ...]`, the axis of a
    batch of tasks first, which `jax.vmap` takes off. Episodes have no weights.

    Every ordered choice of classes is equally likely, and so is every choice of examples
    of a class, as in `few_shot`.

    Args:
      source: the examples.
      labels: the class of each, integers `[n]`; these do fit in memory.
      ways: classes in an episode.
      shots: support examples of each class.
      queries: query examples of each class.
      steps: items in the data set.
      batch: episodes in an item.
      read: turns one example of the source into an array: opens a file, takes the image
        out of a dictionary. uint8 arrays become float32 in [0, 1].
      seed: fixes everything.

    Returns:
      A `grain.MapDataset` of `Episode`s of NumPy arrays `[batch, ways * m, ...]`.

    Raises:
      ValueError: a number below 1, labels that do not fit the source, or a data set that
        is too small.
      ImportError: without Grain.

    Example:
      >>> rows = np.arange(12.0)[:, None]
      >>> data = stream(
      ...     rows, np.arange(12) // 4, 2, 1, 2, steps=3, batch=5
      ... )  # doctest: +SKIP
      >>> data[2].query.inputs.shape  # doctest: +SKIP
      (5, 4, 1)
    """
    import grain

    at_least(1, ways=ways, shots=shots, queries=queries, steps=steps, batch=batch)
    labels = check_labels(labels, len(source))
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    each = shots + queries
    if ways > len(members):
        raise refusal("ways", ways, f"at most {len(members)}, the number of classes")
    fewest = min(len(rows) for rows in members)
    if fewest < each:
        raise refusal(
            "labels",
            f"a class with {fewest} examples",
            f"at least {each} = {shots} shots + {queries} queries",
        )

    def episodes(t: int) -> Episode:
        rng = np.random.default_rng([seed, t])
        rows = [
            [
                rng.choice(members[c], each, replace=False)
                for c in rng.choice(len(members), ways, replace=False)
            ]
            for _ in range(batch)
        ]
        rows = np.asarray(rows)  # [batch, ways, each]
        x = np.stack([read(source[int(row)]) for row in rows.ravel()])
        x = unit_range(x).reshape(*rows.shape, *x.shape[1:])
        return Episode(_batch(x[:, :, :shots]), _batch(x[:, :, shots:]))

    return grain.MapDataset.range(steps).map(episodes)


def _batch(x: np.ndarray) -> Batch:
    """`[batch, ways, m, ...]` to labelled examples, class by class."""
    batch, ways, m = x.shape[:3]
    targets = np.repeat(np.eye(ways, dtype=np.float32), m, axis=0)
    targets = np.broadcast_to(targets, (batch, *targets.shape))
    x = x.reshape(batch, ways * m, *x.shape[3:])
    return Batch(x, targets)  # type: ignore[arg-type]  # it stays on the host
