"""More than one domain: pairs to adapt between, and episodes within or across them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Batch, Episode, Key, PyTree
from jaxmeta.data.arrays import Dataset, unit_range
from jaxmeta.tasks.inputs import class_labels, in_unit_range, on_device, traced_once
from jaxmeta.tasks.sampling import choose


class Unlabelled(NamedTuple):
    """Examples without labels: there is no field that could hold one.

    Attributes:
      inputs: a pytree with leaves `[n, ...]`.
    """

    inputs: PyTree


class DomainPair(NamedTuple):
    """What domain adaptation learns from: a labelled source, an unlabelled target."""

    source: Batch
    target: Unlabelled


def labelled(data: Dataset) -> Batch:
    """All examples of a data set, class by class, with one-hot float32 labels.

    uint8 becomes float32 in [0, 1], four bytes a pixel; other types pass.

    >>> from jaxmeta.data import from_counts
    >>> labelled(from_counts(np.zeros((3, 2), "float32"), [1, 2], ("a", "b"))).targets.shape
    (3, 2)
    """
    labels = np.repeat(np.arange(len(data.counts)), data.counts)
    inputs = unit_range(on_device(data.inputs))
    return Batch.of_labels(inputs, labels, len(data.counts))


def unlabelled(data: Dataset) -> Unlabelled:
    """All examples of a data set without their labels.

    They still lie class by class: whatever draws at random (`domain_pair` does) does
    not see the order. uint8 becomes float32 in [0, 1].
    """
    return Unlabelled(unit_range(on_device(data.inputs)))


def domain_pair(source: Batch, target: Unlabelled) -> Partial:
    """Builds the draw of one labelled source and one unlabelled target example.

    `jaxmeta.fit(..., batch=64)` makes minibatches of 64 + 64 of it. Both are drawn
    evenly and with replacement; the weights of the source (see
    `jaxmeta.transfer.weighted`) stay with their examples. uint8 becomes float32 in
    [0, 1] once drawn.

    Args:
      source: `n` labelled examples.
      target: `m` unlabelled ones.

    Returns:
      `key -> DomainPair` of one example each, with no leading axis; a pytree whose
      leaves are the data.

    Raises:
      ValueError: an empty domain, or inputs of different shapes.

    >>> draw = domain_pair(Batch(jnp.ones((3, 2)), jnp.eye(3)), Unlabelled(jnp.ones((9, 2))))
    >>> jax.tree.map(jnp.shape, draw(jax.random.key(0))).source
    Batch(inputs=(2,), targets=(3,), weights=None)
    """
    shapes = [
        jax.tree.map(lambda x: jnp.shape(x)[1:], d.inputs) for d in (source, target)
    ]
    if shapes[0] != shapes[1]:
        raise refusal("target", f"examples {shapes[1]}", f"{shapes[0]} as source")
    sizes = tuple(jax.tree.leaves(d.inputs)[0].shape[0] for d in (source, target))
    if min(sizes) < 1 or len(source.targets) != sizes[0]:
        raise refusal(
            "source, target",
            f"{sizes} examples and {len(source.targets)} rows of targets",
            "at least one of each and a row for each source example",
        )
    types = [jax.tree.map(_type_drawn, d.inputs) for d in (source, target)]
    if types[0] != types[1]:
        raise refusal("target", f"examples of {types[1]}", f"{types[0]} as source")
    return Partial(_draw_pair, source, target)


def _type_drawn(x) -> str:
    return "float32" if x.dtype == np.uint8 else str(x.dtype)


def _draw_pair(source: Batch, target: Unlabelled, key: Key) -> DomainPair:
    def one(tree, key):
        n = jax.tree.leaves(tree)[0].shape[0]
        row = jax.random.randint(key, (), 0, n)
        return jax.tree.map(lambda x: x[row], tree)

    of_source, of_target = jax.random.split(key)
    source, target = one(source, of_source), one(target, of_target)
    return DomainPair(
        source._replace(inputs=in_unit_range(source.inputs)),
        Unlabelled(in_unit_range(target.inputs)),
    )


def domains(
    data: Mapping[str, Dataset],
    ways: int,
    shots: int,
    queries: int,
    *,
    pairs: Sequence[tuple[str, str]] | None = None,
    shuffle: bool = True,
) -> Partial:
    """Builds few-shot tasks over several domains that share their classes.

    An episode draws one pair of domains evenly, then `ways` classes, then the support
    from the first domain and the query from the second. By default each domain is paired
    with itself: domains as tasks, for meta-training across them. `pairs=[("books",
    "dvd")]` learns from books and is judged on dvd. Support and query share no example.
    uint8 becomes float32 in [0, 1] once drawn.

    Args:
      data: domain name -> data set, all with the same class names in the same order.
      ways: classes in an episode.
      shots: support examples of each class.
      queries: query examples of each class.
      pairs: `(domain of the support, domain of the query)`, one or more.
      shuffle: draw the classes and their order, as few-shot learning does. Without it
        label i is class i in every episode: what a fixed classifier is judged by.

    Returns:
      A task, `key -> Episode`: inputs `[ways * m, ...]`, one-hot float32 targets
      `[ways * m, ways]`; a pytree whose leaves are the data.

    Raises:
      ValueError: no pair, an unknown domain, classes that differ, or too few examples.

    >>> from jaxmeta.data import from_counts
    >>> book, dvd = (from_counts(np.full((8, 2), v), [4, 4], ("bad", "good")) for v in (0.0, 1.0))
    >>> task = domains({"book": book, "dvd": dvd}, 2, 1, 3, pairs=[("book", "dvd")])
    >>> float(task(jax.random.key(0)).query.inputs.mean())
    1.0
    """
    at_least(1, ways=ways, shots=shots, queries=queries)
    names = list(data)
    if not names:
        raise refusal("data", "none", "one domain or more")
    pairs = [(name, name) for name in names] if pairs is None else list(pairs)
    unknown = [name for pair in pairs for name in pair if name not in data]
    if unknown or not pairs:
        got = repr(unknown[0]) if unknown else "none"
        raise refusal("pairs", got, f"pairs of {', '.join(names)}")
    first = data[names[0]]
    for name, part in data.items():
        if part.names != first.names:
            raise refusal(
                "data",
                f"classes {part.names} in {name!r}",
                f"{first.names} as in {names[0]!r}",
            )
        if _kind(part) != _kind(first):
            raise refusal(
                "data",
                f"examples {_kind(part)} in {name!r}",
                f"{_kind(first)} as in {names[0]!r}",
            )
        if min(part.counts) < shots + queries:
            raise refusal(
                "data",
                f"{min(part.counts)} examples in a class of {name!r}",
                f"at least {shots + queries} = {shots} shots + {queries} queries",
            )
    if ways > len(first.names):
        raise refusal("ways", ways, f"at most {len(first.names)}")
    if not shuffle and ways < len(first.names):
        raise refusal("ways", ways, f"all {len(first.names)} unshuffled")
    sizes = np.asarray([len(part.inputs) for part in data.values()])
    offsets = (np.cumsum(sizes) - sizes)[:, None]
    return Partial(
        _Domains(ways, shots, queries, shuffle, tuple(map(str, first.names))),
        on_device(np.concatenate([part.inputs for part in data.values()])),
        jnp.asarray(offsets + [part.starts for part in data.values()], jnp.int32),
        jnp.asarray([part.counts for part in data.values()], jnp.int32),
        jnp.asarray([[names.index(n) for n in pair] for pair in pairs], jnp.int32),
    )


def _kind(data: Dataset) -> str:
    return f"{data.inputs.dtype}{list(data.inputs.shape[1:])}"


@dataclass(frozen=True)
class _Domains:
    """The static half of the task, compared by value: an equal task is compiled once."""

    ways: int
    shots: int
    queries: int
    shuffle: bool
    names: tuple[str, ...]

    @traced_once
    def __call__(
        self, inputs: Array, starts: Array, counts: Array, pairs: Array, key: Key
    ) -> Episode:
        # starts, counts [domains, classes]; pairs [p, 2]
        of_pair, _, of_support, of_query = jax.random.split(key, 4)
        support, query = pairs[jax.random.randint(of_pair, (), 0, len(pairs))]
        classes = self.episode_classes(inputs, starts, counts, pairs, key)
        each = self.shots + self.queries

        def rows(domain, key):
            chosen = choose(key, counts[domain, classes], each)  # [ways, each]
            return chosen + starts[domain, classes][:, None]

        learn, judge = rows(support, of_support), rows(query, of_query)
        # within one domain the two draws would overlap: take both parts of the first
        judge = jnp.where(support == query, learn, judge)
        return Episode(
            self._batch(inputs, learn[:, : self.shots]),
            self._batch(inputs, judge[:, self.shots :]),
        )

    def class_names(self, *data: Array) -> tuple[str, ...]:
        return self.names

    def episode_classes(
        self, inputs: Array, starts: Array, counts: Array, pairs: Array, key: Key
    ) -> Array:
        if not self.shuffle:
            return jnp.arange(self.ways, dtype=jnp.int32)
        return choose(jax.random.split(key, 4)[1], counts.shape[1], self.ways)

    def _batch(self, inputs: Array, rows: Array) -> Batch:
        labels = class_labels(self.ways, rows.shape[1])
        return Batch.of_labels(unit_range(inputs[rows.reshape(-1)]), labels, self.ways)
