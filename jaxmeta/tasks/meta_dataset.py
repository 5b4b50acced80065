"""Episodes of any size in one compiled shape: ways, shots and imbalance are drawn.

Triantafillou et al. 2020, Meta-Dataset: A Dataset of Datasets for Learning to Learn from
Few Examples, https://arxiv.org/abs/1903.03096, section 3.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Batch, Episode, Key
from jaxmeta.data.arrays import Dataset, unit_range
from jaxmeta.shapes import Bool, Int
from jaxmeta.tasks.few_shot import FewShot
from jaxmeta.tasks.inputs import on_device, traced_once
from jaxmeta.tasks.sampling import choose


def meta_dataset(
    data: Dataset,
    *,
    min_ways: int = 5,
    max_ways: int = 50,
    max_queries: int = 10,
    max_support: int = 500,
    max_contribution: int = 100,
    hierarchy: Callable[[str], str] | None = None,
    normalise: Callable[[Array], Array] | None = None,
) -> Partial:
    """Builds episodes of varying ways and shots, by the rules of Meta-Dataset.

        ways ~ U{min_ways, ..., min(max_ways, classes)}, classes uniformly
        q = min(max_queries, min_c floor(n_c / 2))                 queries of each class
        |S| = min(max_support, sum_c ceil(b min(max_contribution, n_c - q))),  b ~ U(0, 1]
        k_c = min(floor(R_c (|S| - ways)) + 1, n_c - q)            shots of class c
        R_c ~ n_c exp(a_c) / sum n_c' exp(a_c'),  a_c ~ U(log 1/2, log 2)

    where `n_c` is the number of examples of class `c`. With a `hierarchy` (Omniglot: the
    alphabet) a group is drawn first, each group equally likely, then classes of that
    group alone, as many as `U{min_ways, ..., min(max_ways, its classes)}`.

    Every episode has the same shapes, so all sizes share one compiled program. What is
    not there is padding: rows of weight 0, and columns without a real row for the
    classes from `ways` on, which `criteria.classification` takes out of the outputs.

    Args:
      data: the examples, grouped by class; each class has 2 or more.
      min_ways: fewest classes in an episode.
      max_ways: most classes, and the width of the targets.
      max_queries: most queries of a class.
      max_support: most support examples of an episode, and the rows of the support.
      max_contribution: what one class can add to the size of the support, at most.
      hierarchy: name of a class -> name of its group. For Omniglot
        `lambda name: name.split("/")[0]`.
      normalise: a function applied to the gathered examples `[m, ...]`.

    Returns:
      A task, `key -> Episode`: support `[max_support, ...]` and `[max_support, max_ways]`,
      query `[max_ways * max_queries, ...]` likewise, with float32 weights: 1 for a real
      row, 0 for padding. Real support rows come first, class by class; query row `i` is
      example `i % max_queries` of class `i // max_queries`.

    Raises:
      ValueError: a number below 1, bounds that contradict each other, a class with one
        example, or a group (or a data set) with fewer than `min_ways` classes.

    References:
      Triantafillou et al. 2020, https://arxiv.org/abs/1903.03096.

    Example:
      >>> from jaxmeta.data import from_counts
      >>> data = from_counts(np.zeros((90, 4)), [9] * 10, tuple("abcdefghij"))
      >>> task = meta_dataset(data, max_ways=8, max_queries=3, max_support=40)
      >>> jax.tree.map(jnp.shape, task(jax.random.key(0)).support)
      Batch(inputs=(40, 4), targets=(40, 8), weights=(40,))
    """
    sizes = _Sizes(min_ways, max_ways, max_queries, max_support, max_contribution)
    at_least(1, **sizes._asdict())
    order, starts, counts = _groups(data, hierarchy)
    _check(data, sizes, counts, hierarchy)
    deepest = min(max_support + max_queries, int(np.max(data.counts)))
    return Partial(
        _MetaDataset(sizes, deepest, normalise, tuple(map(str, data.names))),
        on_device(data.inputs),
        jnp.asarray(data.starts, jnp.int32),
        jnp.asarray(data.counts, jnp.int32),
        *(jnp.asarray(x, jnp.int32) for x in (order, starts, counts)),
    )


class _Sizes(NamedTuple):
    min_ways: int
    max_ways: int
    max_queries: int
    max_support: int
    max_contribution: int


@dataclass(frozen=True)
class _MetaDataset:
    """The static half of a task, compared by value: an equal task is compiled once."""

    sizes: _Sizes
    deepest: int  # examples of one class that an episode can use
    normalise: Callable[[Array], Array] | None
    names: tuple[str, ...]

    @traced_once
    def __call__(
        self,
        inputs: Array,
        starts: Array,
        counts: Array,
        order: Array,
        group_starts: Array,
        group_counts: Array,
        key: Key,
    ) -> Episode:
        size = self.sizes
        *class_keys, shot_key, row_key = jax.random.split(key, 5)
        classes, real = self._classes(order, group_starts, group_counts, class_keys)

        n = counts[classes]
        shots, queries = composition(shot_key, n, real, size)
        rows = choose(row_key, n, self.deepest) + starts[classes][:, None]

        # Query i is draw i of its class, support example j is draw queries + j.
        label, draw = jnp.divmod(
            jnp.arange(size.max_ways * size.max_queries), size.max_queries
        )
        query = self._batch(inputs, rows, label, draw, real[label] & (draw < queries))
        ends = jnp.cumsum(shots)
        row = jnp.arange(size.max_support)
        label = jnp.searchsorted(ends, row, side="right")
        label = jnp.minimum(label, size.max_ways - 1)
        draw = row - (ends - shots)[label] + queries
        return Episode(self._batch(inputs, rows, label, draw, row < ends[-1]), query)

    def _classes(self, order, group_starts, group_counts, keys):
        """The classes of an episode, `[max_ways]`, and which of the slots are real."""
        group_key, ways_key, class_key = keys
        group = jax.random.randint(group_key, (), 0, len(group_counts))
        there = group_counts[group]
        most = jnp.minimum(self.sizes.max_ways, there)
        ways = jax.random.randint(ways_key, (), self.sizes.min_ways, most + 1)
        drawn = choose(class_key, there, self.sizes.max_ways)
        real = jnp.arange(self.sizes.max_ways) < ways
        return order[group_starts[group] + jnp.where(real, drawn, 0)], real

    def class_names(self, *data: Array) -> tuple[str, ...]:
        return self.names

    def episode_classes(self, *data_and_key) -> Array:
        *_, order, group_starts, group_counts, key = data_and_key
        keys = jax.random.split(key, 5)[:3]
        classes, real = self._classes(order, group_starts, group_counts, keys)
        return jnp.where(real, classes, -1)

    def class_count(self, inputs: Array, starts: Array, counts: Array, *rest) -> int:
        return len(counts)

    def resized(self, ways, shots, queries, inputs, starts, counts, *rest) -> Partial:
        fixed = FewShot(ways, shots, queries, False, self.normalise, self.names)
        return fixed.resized(ways, shots, queries, inputs, starts, counts)

    def _batch(self, inputs, rows, label, draw, real) -> Batch:
        """Gathers `rows[label, draw]` where `real`; the rest is padding."""
        chosen = jnp.where(real, rows[label, jnp.minimum(draw, self.deepest - 1)], 0)
        flat = inputs.reshape(len(inputs), -1)
        x = flat.at[chosen].get(mode="promise_in_bounds")
        x = x.reshape(len(chosen), *inputs.shape[1:])
        x = unit_range(x)
        x = x if self.normalise is None else self.normalise(x)
        x = jnp.where(real.reshape(-1, *(1,) * (x.ndim - 1)), x, 0)
        weights = real.astype(jnp.float32)
        return Batch.of_labels(x, label, self.sizes.max_ways, weights)


def composition(
    key: Key, n: Int[Array, " max_ways"], real: Bool[Array, " max_ways"], sizes: _Sizes
) -> tuple[Int[Array, " max_ways"], Int[Array, ""]]:
    """Draws how many examples of each class an episode has.

    Args:
      key: a random key.
      n: examples of each class, `[max_ways]`.
      real: which classes are in the episode.
      sizes: the bounds.

    Returns:
      Shots of each class, `[max_ways]`, 0 where not real; and the queries of each.
    """
    size_key, weight_key = jax.random.split(key)
    fewest = jnp.min(jnp.where(real, n, jnp.iinfo(n.dtype).max))
    queries = jnp.minimum(sizes.max_queries, fewest // 2)
    left = n - queries
    # floor(b x) + 1 with b in [0, 1) is ceil(b x) with b in (0, 1]: at least one each
    adds = jax.random.uniform(size_key) * jnp.minimum(sizes.max_contribution, left)
    total = jnp.sum(jnp.where(real, jnp.floor(adds).astype(n.dtype) + 1, 0))
    total = jnp.minimum(total, sizes.max_support)

    log_2 = float(np.log(2))
    weight = jnp.exp(
        jax.random.uniform(weight_key, n.shape, minval=-log_2, maxval=log_2)
    )
    weight = jnp.where(real, n * weight, 0)
    free = total - jnp.sum(real.astype(n.dtype))  # once every class has one
    shots = jnp.floor(weight / weight.sum() * free).astype(n.dtype) + 1
    return jnp.where(real, jnp.minimum(shots, left), 0), queries


def _groups(data: Dataset, hierarchy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Classes in the order of their groups; where each group starts, how many it has."""
    if hierarchy is None:
        return np.arange(len(data.names)), np.array([0]), np.array([len(data.names)])
    names = np.array([hierarchy(name) for name in data.names])
    order = np.argsort(names, kind="stable")
    _, starts, counts = np.unique(names[order], return_index=True, return_counts=True)
    return order, starts, counts


def _check(data: Dataset, sizes: _Sizes, groups: np.ndarray, hierarchy) -> None:
    """Refuses, before anything compiles, what the data set cannot give."""
    if sizes.min_ways > sizes.max_ways:
        raise refusal("min_ways", sizes.min_ways, f"at most max_ways {sizes.max_ways}")
    if sizes.max_support < sizes.max_ways:
        raise refusal(
            "max_support", sizes.max_support, f"at least max_ways {sizes.max_ways}"
        )
    if groups.min() < sizes.min_ways:
        what = "the data set"
        if hierarchy is not None:
            names = sorted({hierarchy(name) for name in data.names})
            what = f"group {names[int(groups.argmin())]!r}"
        raise refusal(
            "min_ways", sizes.min_ways, f"at most {groups.min()}, the classes of {what}"
        )
    scarce = np.flatnonzero(np.asarray(data.counts) < 2)
    if len(scarce):
        raise refusal(
            f"class {data.names[scarce[0]]!r}",
            f"{data.counts[scarce[0]]} examples",
            "at least 2: a shot and a query",
        )
