"""Examples of one hand to learn from, and of others to be asked about.

A word is learned from one speaker and is to be known from another's mouth; a speaker is
learned from one word and is to be known by another. What an example is by, its hand, says
nothing of its class, and a learner that goes by it is wrong.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Batch, Episode, Key
from jaxmeta.data.arrays import Dataset, unit_range
from jaxmeta.tasks.inputs import class_labels, on_device, traced_once
from jaxmeta.tasks.sampling import choose

Warp = Callable[[Key, Array], Array]


def other_hands(
    data: Dataset,
    ways: int,
    shots: int,
    queries: int,
    *,
    hands: npt.ArrayLike,
    warp_class: Warp | None = None,
    warp_hand: Warp | None = None,
) -> Partial:
    """Builds the task of telling classes apart as other hands make them.

    An episode draws classes, then one hand of those that have made `shots` examples or
    more of every class, then its examples for the support; the queries are drawn from
    those of all other hands. All draws are even and without replacement.

    Args:
      data: the examples, grouped by class.
      ways: classes in an episode.
      shots: support examples of each class, by one hand.
      queries: query examples of each class, by any other hands.
      hands: integers `[n]`, who or what made each row of `data.inputs`.
      warp_class: `(key, example) -> example`, with one key for all examples of a class:
        a class that is warped is another class. For training.
      warp_hand: the same with one key for all examples of a hand, in all classes.

    Returns:
      A task, `key -> Episode`: inputs `[ways * m, ...]` and one-hot float32 targets
      `[ways * m, ways]`, with `m` the shots or the queries.

    Raises:
      ValueError: a number below 1; more ways than classes; hands of another number than
        the examples; no hand with enough examples for the support, or one beside which
        the others have too few for the queries.

    >>> from jaxmeta.data import from_counts
    >>> data = from_counts(np.zeros((8, 2)), [4, 4], ("yes", "no"))
    >>> task = other_hands(data, 2, 1, 2, hands=[0, 0, 1, 1, 0, 0, 1, 1])
    >>> task(jax.random.key(0)).query.inputs.shape
    (4, 2)
    """
    at_least(1, ways=ways, shots=shots, queries=queries)
    counts = np.asarray(data.counts)
    hands = np.asarray(hands)
    if hands.shape != (len(data.inputs),) or hands.dtype.kind not in "iu":
        wants = f"integers [{len(data.inputs)}], one for each example"
        raise refusal("hands", f"{hands.dtype}{list(hands.shape)}", wants)
    if ways > len(counts):
        raise refusal("ways", ways, f"at most {len(counts)}, the number of classes")
    index = np.unique(hands, return_inverse=True)[1]
    able = _able(index, counts, data.names, shots, queries)
    sampler = _OtherHands(
        ways, shots, queries, int(counts.max()), warp_class, warp_hand,
        tuple(map(str, data.names)),
    )  # fmt: skip
    return Partial(
        sampler,
        on_device(data.inputs),
        jnp.asarray(data.starts, jnp.int32),
        jnp.asarray(counts, jnp.int32),
        jnp.asarray(index, jnp.int32),
        jnp.asarray(able, jnp.int32),
    )


def _able(index, counts, names, shots: int, queries: int) -> np.ndarray:
    """The hands that can give a support; raises `ValueError` where there is none."""
    labels = np.repeat(np.arange(len(counts)), counts)
    table = np.zeros((len(counts), int(index.max()) + 1), np.int64)  # of class c by h
    np.add.at(table, (labels, index), 1)
    able = np.flatnonzero((table >= shots).all(0))
    if not len(able):
        most = int(table.min(0).max())
        raise refusal("shots", shots, f"at most {most}, by one hand of every class")
    rest = table.sum(1, keepdims=True) - table[:, able]
    if rest.min() < queries:
        wants = f"at most {rest.min()}, of class {names[int(rest.min(1).argmin())]!r}"
        raise refusal("queries", queries, f"{wants} by the hands that give no support")
    return able


@dataclass(frozen=True)
class _OtherHands:
    """The static half of a task, compared by value: an equal task is compiled once."""

    ways: int
    shots: int
    queries: int
    most: int
    warp_class: Warp | None
    warp_hand: Warp | None
    names: tuple[str, ...]

    @traced_once
    def __call__(self, inputs, starts, counts, hands, able, key) -> Episode:
        classes = self.episode_classes(inputs, starts, counts, hands, able, key)
        _, hand_key, order_key, class_key, warp_key = jax.random.split(key, 5)
        hand = able[jax.random.randint(hand_key, (), 0, len(able))]
        at = jnp.arange(self.most)
        rows = starts[classes][:, None] + jnp.minimum(
            at, counts[classes][:, None] - 1
        )  # [ways, most]
        there = at < counts[classes][:, None]
        mine = hands[rows] == hand
        # the first of a random order are a sample without replacement
        order = jax.random.uniform(order_key, rows.shape)
        support = self._first(jnp.where(there & mine, order, 2.0), rows, self.shots)
        query = self._first(jnp.where(there & ~mine, order, 2.0), rows, self.queries)
        rows = jnp.concatenate([support, query], axis=1)  # [ways, shots + queries]
        x = unit_range(inputs[rows])
        if self.warp_class is not None:
            keys = jax.random.split(class_key, self.ways)
            x = jax.vmap(jax.vmap(self.warp_class, (None, 0)))(keys, x)
        if self.warp_hand is not None:
            keys = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (None, 0))(
                warp_key, hands[rows]
            )
            x = jax.vmap(jax.vmap(self.warp_hand))(keys, x)
        return Episode(self._batch(x[:, : self.shots]), self._batch(x[:, self.shots :]))

    def class_names(self, *data: Array) -> tuple[str, ...]:
        return self.names

    def episode_classes(self, inputs, starts, counts, hands, able, key) -> Array:
        return choose(jax.random.split(key, 5)[0], len(counts), self.ways)

    def class_count(self, inputs, starts, counts, hands, able) -> int:
        return len(counts)

    def resized(self, ways, shots, queries, *held) -> Partial:
        inputs, starts, counts, hands, able = held
        if ways > len(counts):
            raise refusal("ways", ways, f"at most {len(counts)}, the number of classes")
        told = np.asarray(hands), np.asarray(counts)
        found = _able(told[0], told[1], self.names, shots, queries)
        sampler = replace(self, ways=ways, shots=shots, queries=queries)
        able = jnp.asarray(found, jnp.int32)
        return Partial(sampler, inputs, starts, counts, hands, able)

    def _first(self, order: Array, rows: Array, many: int) -> Array:
        """The rows that come first, `[ways, many]`."""
        first = jax.lax.top_k(-order, many)[1]
        return jnp.take_along_axis(rows, first, axis=1)

    def _batch(self, x: Array) -> Batch:
        labels = class_labels(self.ways, x.shape[1])
        return Batch.of_labels(x.reshape(-1, *x.shape[2:]), labels, self.ways)
