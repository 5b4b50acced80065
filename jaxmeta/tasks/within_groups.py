"""Classes that are alike, and examples by different hands: the harder few-shot task.

Lake, Salakhutdinov, Tenenbaum 2015, https://doi.org/10.1126/science.aab3050: a character
is to be told from the others of its own alphabet, as another person draws it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Batch, Episode, Key
from jaxmeta.data.arrays import Dataset, unit_range
from jaxmeta.tasks.inputs import class_labels, on_device, traced_once
from jaxmeta.tasks.sampling import choose


def within_groups(
    data: Dataset,
    ways: int,
    shots: int,
    queries: int,
    *,
    groups: Sequence[str],
    hands: bool = False,
    rotations: bool = False,
    warp: Callable[[Key, Array], Array] | None = None,
) -> Partial:
    """Builds the task of telling classes of one group apart: characters of one alphabet.

    A group is drawn, each with `ways` classes or more equally likely; then classes of
    it and examples of each, all without replacement.

    Args:
      data: the examples, grouped by class.
      ways: classes in an episode.
      shots: support examples of each class.
      queries: query examples of each class.
      groups: the group of each class, in the order of `data.names`.
      hands: example `i` of every class of a group is by the same hand. Then the same
        `shots` hands have made the whole support, and `queries` others the queries.
      rotations: turn all images of an episode by the same 0, 90, 180 or 270 degrees: a
        group that is turned is another group. Needs square images.
      warp: `(key, image) -> image`, with one key for all images of an episode: a group
        that is warped is another group. For training. One key a class would give the
        classes away: they could be told by their slant.

    Returns:
      A task, `key -> Episode`: inputs `[ways * m, ...]` and one-hot float32 targets
      `[ways * m, ways]`, with `m` the shots or the queries.

    Raises:
      ValueError: a number below 1; groups of another number than the classes, or none
        with so many classes; a class with too few examples; with `hands`, classes of a
        group that differ in their number of examples; rotations of what is not square.

    References:
      Lake et al. 2015; Lake et al. 2019, The Omniglot challenge, arXiv:1902.03477.

    >>> from jaxmeta.data import from_counts
    >>> data = from_counts(np.zeros((8, 4, 4, 1), np.uint8), [2] * 4, tuple("abcd"))
    >>> task = within_groups(data, 2, 1, 1, groups=("Greek", "Greek", "Latin", "Latin"))
    >>> task(jax.random.key(0)).support.inputs.shape
    (2, 4, 4, 1)
    """
    at_least(1, ways=ways, shots=shots, queries=queries)
    counts = np.asarray(data.counts)
    if len(groups) != len(counts):
        raise refusal("groups", f"{len(groups)} names", f"{len(counts)}, one a class")
    kinds, index = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(index == i) for i in range(len(kinds))]
    _check(data, ways, shots + queries, kinds, members, hands, rotations)
    large = [m for m in members if len(m) >= ways]
    many = [len(m) for m in large]
    sampler = _Within(
        ways, shots, queries, hands, rotations, warp, tuple(map(str, data.names))
    )
    return Partial(
        sampler,
        on_device(data.inputs),
        jnp.asarray(data.starts, jnp.int32),
        jnp.asarray(counts, jnp.int32),
        jnp.asarray(np.concatenate(large), jnp.int32),
        jnp.asarray(np.cumsum([0, *many[:-1]]), jnp.int32),
        jnp.asarray(many, jnp.int32),
    )


@dataclass(frozen=True)
class _Within:
    """The static half of a task, compared by value: an equal task is compiled once."""

    ways: int
    shots: int
    queries: int
    hands: bool
    rotations: bool
    warp: Callable[[Key, Array], Array] | None
    names: tuple[str, ...]

    @traced_once
    def __call__(self, inputs, starts, counts, members, begins, sizes, key) -> Episode:
        classes = self.episode_classes(
            inputs, starts, counts, members, begins, sizes, key
        )
        row_key, turn_key, warp_key = jax.random.split(jax.random.fold_in(key, 1), 3)
        each = self.shots + self.queries
        if self.hands:
            rows = choose(row_key, counts[classes[0]], each)[None]
        else:
            rows = choose(row_key, counts[classes], each)
        rows = rows + starts[classes][:, None]
        flat = inputs.reshape(len(inputs), -1)  # rows of numbers are gathered faster
        x = flat.at[rows].get(mode="promise_in_bounds")
        x = unit_range(x.reshape(self.ways, each, *inputs.shape[1:]))
        if self.warp is not None:
            x = jax.vmap(jax.vmap(self.warp, (None, 0)), (None, 0))(warp_key, x)
        if self.rotations:
            turns = [lambda x, k=k: jnp.rot90(x, k, axes=(2, 3)) for k in range(4)]
            x = jax.lax.switch(jax.random.randint(turn_key, (), 0, 4), turns, x)
        return Episode(self._batch(x[:, : self.shots]), self._batch(x[:, self.shots :]))

    def class_names(self, *data: Array) -> tuple[str, ...]:
        return self.names

    def episode_classes(
        self, inputs, starts, counts, members, begins, sizes, key
    ) -> Array:
        group_key, class_key = jax.random.split(key)
        group = jax.random.randint(group_key, (), 0, len(sizes))
        return members[begins[group] + choose(class_key, sizes[group], self.ways)]

    def class_count(self, inputs, starts, counts, members, begins, sizes) -> int:
        return int(np.max(sizes))

    def resized(self, ways, shots, queries, *held) -> Partial:
        inputs, starts, counts, members, begins, sizes = held
        large = np.asarray(sizes) >= ways
        if not large.any():
            most = f"at most {np.max(sizes)}, the classes of the largest group"
            raise refusal("ways", ways, most)
        begins, sizes = (np.asarray(x)[large] for x in (begins, sizes))
        groups = [
            np.asarray(members)[b : b + n] for b, n in zip(begins, sizes, strict=True)
        ]
        least = int(np.asarray(counts)[np.concatenate(groups)].min())
        if least < shots + queries:
            raise refusal("shots + queries", shots + queries, f"at most {least}")
        sampler = replace(self, ways=ways, shots=shots, queries=queries)
        index = (jnp.asarray(x, jnp.int32) for x in (begins, sizes))
        return Partial(sampler, inputs, starts, counts, members, *index)

    def _batch(self, x: Array) -> Batch:
        labels = class_labels(self.ways, x.shape[1])
        return Batch.of_labels(x.reshape(-1, *x.shape[2:]), labels, self.ways)


def _check(data, ways, each, kinds, members, hands, rotations) -> None:
    """Refuses, before anything compiles, what the data set cannot give."""
    counts = np.asarray(data.counts)
    if max(map(len, members), default=0) < ways:
        largest = max(map(len, members), default=0)
        raise refusal(
            "ways", ways, f"at most {largest}, the classes of the largest group"
        )
    for kind, group in zip(kinds, members, strict=True):
        if len(group) < ways:
            continue
        few = group[counts[group] < each]
        if len(few):
            name, got = data.names[few[0]], counts[few[0]]
            raise refusal(f"class {name!r}", f"{got} examples", f"at least {each}")
        if hands and len(set(counts[group].tolist())) > 1:
            raise refusal(
                "hands",
                f"classes of {str(kind)!r} with {sorted(set(counts[group].tolist()))} examples",
                "one by each hand in every class of a group",
            )
    shape = data.inputs.shape[1:]
    if rotations and (len(shape) != 3 or shape[0] != shape[1]):
        raise refusal(
            "rotations", f"examples {list(shape)}", "square images [n, h, h, c]"
        )
