"""Tasks whose classes are described: by photographs, by a text, or by both."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.checks import at_least, refusal
from jaxmeta.core import Array, Batch, Episode, Key
from jaxmeta.data.arrays import Dataset, unit_range
from jaxmeta.tasks.inputs import class_labels, on_device, traced_once
from jaxmeta.tasks.sampling import choose


class Seen(NamedTuple):
    """Inputs of which each row is a picture, a text, or a picture with its text.

    Attributes:
      image: `[n, ...]`.
      text: `[n, v]`, a text as numbers (`data.tf_idf`), or whatever else stands for a
        class, such as the features of a catalogue's picture.
      there: `[n, 2]`: 1 where the row has an image, and where it has a text; what else
        it holds does not matter.
    """

    image: Array
    text: Array
    there: Array


def cross_modal(
    data: Dataset,
    texts: np.ndarray,
    ways: int,
    shots: int,
    queries: int,
    *,
    asked: Dataset | None = None,
    told: bool = True,
) -> Partial:
    """Builds the task of telling classes apart of which a text is known, and photographs.

    The support has `ways * shots` rows with a picture, then a row with the text of each
    class; the queries are pictures. `shots=0` is zero-shot: by the texts alone.

    Args:
      data: pictures, or their features, grouped by class.
      texts: `[C, v]`, one a class, in the order of `data.names`.
      ways: classes in an episode.
      shots: support pictures of each class, 0 or more.
      queries: query pictures of each class.
      asked: where query pictures come from, with the same classes; `None`: from `data`,
        others than those of the support.
      told: whether the support has the texts.

    Returns:
      A task, `key -> Episode` with `Seen` inputs; a pytree whose leaves are the data.

    Raises:
      ValueError: numbers out of range, nothing in the support, texts that are not one a
        class, or a class with too few pictures.

    References:
      Xing et al. 2019, arXiv:1902.07104: few-shot learning with a text for each class.

    >>> from jaxmeta.data import from_counts
    >>> data = from_counts(np.zeros((6, 3), "float32"), [3, 3], ("a", "b"))
    >>> task = cross_modal(data, np.eye(2, dtype="float32"), ways=2, shots=1, queries=2)
    >>> task(jax.random.key(0)).support.inputs.there.tolist()
    [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    """
    at_least(1, ways=ways, queries=queries)
    at_least(0, shots=shots)
    if not shots and not told:
        raise refusal("shots", "0 without texts", "1 or more, or told=True")
    if len(texts) != len(data.names) or texts.ndim != 2:
        wants = f"[{len(data.names)}, v], a text for each class"
        raise refusal("texts", f"shape {list(texts.shape)}", wants)
    if asked is not None and asked.names != data.names:
        raise refusal("asked", "other classes", "those of data, in their order")
    if ways > len(data.names):
        raise refusal("ways", ways, f"at most {len(data.names)}, the number of classes")
    of = data if asked is None else asked
    _check("data", data, shots if asked is not None else shots + queries)
    _check("asked", of, queries)
    task = _CrossModal(ways, shots, queries, told, asked is None, tuple(data.names))
    return Partial(task, _rows(data), _rows(of), on_device(texts))


def pairs(data: Dataset, texts: np.ndarray) -> Partial:
    """Builds the draw of one picture with the text of its class: what a map learns from.

    A class is drawn, each as likely, then one of its pictures.

    Args:
      data: pictures, or their features, grouped by class.
      texts: `[C, v]`, one a class.

    Returns:
      `key -> Batch` of one example, with `Seen` inputs and the class as its target;
      `fit(..., batch=64)` makes minibatches.

    Raises:
      ValueError: texts that are not one a class, or a class without a picture.

    >>> from jaxmeta.data import from_counts
    >>> data = from_counts(np.zeros((2, 3), "float32"), [1, 1], ("a", "b"))
    >>> draw = pairs(data, np.eye(2, dtype="float32"))
    >>> draw(jax.random.key(0)).inputs.there.tolist()
    [1.0, 1.0]
    """
    if len(texts) != len(data.names) or texts.ndim != 2:
        wants = f"[{len(data.names)}, v], a text for each class"
        raise refusal("texts", f"shape {list(texts.shape)}", wants)
    _check("data", data, 1)
    return Partial(_pair, _rows(data), on_device(texts))


class _Rows(NamedTuple):
    """A data set on the device."""

    inputs: Array
    starts: Array
    counts: Array

    def at(self, classes: Array, picked: Array) -> Array:
        """Examples by their number within a class: `classes` `[...]`, the same shape."""
        return unit_range(self.inputs[self.starts[classes] + picked])


def _rows(data: Dataset) -> _Rows:
    starts, counts = (jnp.asarray(x, jnp.int32) for x in (data.starts, data.counts))
    return _Rows(on_device(data.inputs), starts, counts)


def _pair(rows: _Rows, texts: Array, key: Key) -> Batch:
    class_key, row_key = jax.random.split(key)
    c = jax.random.randint(class_key, (), 0, len(rows.counts), jnp.int32)
    picked = jax.random.randint(row_key, (), 0, rows.counts[c], jnp.int32)
    there = jnp.ones(2, texts.dtype)
    target = jax.nn.one_hot(c, len(rows.counts), dtype=jnp.float32)
    return Batch(Seen(rows.at(c, picked), texts[c], there), target)


@dataclass(frozen=True)
class _CrossModal:
    """The static half of a task, compared by value: an equal task is compiled once."""

    ways: int
    shots: int
    queries: int
    told: bool
    one_set: bool
    names: tuple[str, ...]

    @traced_once
    def __call__(self, data: _Rows, asked: _Rows, texts: Array, key: Key) -> Episode:
        first, second = jax.random.split(jax.random.split(key)[1])
        classes = self.episode_classes(data, asked, texts, key)
        each = self.shots + (self.queries if self.one_set else 0)
        rows = jnp.zeros((self.ways, 0), jnp.int32)
        if each:
            rows = choose(first, data.counts[classes], each)
        mine = rows[:, : self.shots]
        theirs = rows[:, self.shots :]
        if not self.one_set:
            theirs = choose(second, asked.counts[classes], self.queries)
        width = texts.shape[1]
        images, labels = self._images(data, classes, mine)
        seen = [_of_images(images, width, texts.dtype)]
        if self.told:
            blank = jnp.zeros((self.ways, *images.shape[1:]), images.dtype)
            there = jnp.tile(jnp.array([0, 1], texts.dtype), (self.ways, 1))
            seen.append(Seen(blank, texts[classes], there))
            labels = jnp.concatenate([labels, class_labels(self.ways, 1)])
        support = jax.tree.map(lambda *x: jnp.concatenate(x), *seen)
        images, wanted = self._images(asked, classes, theirs)
        query = _of_images(images, width, texts.dtype)
        return Episode(
            Batch.of_labels(support, labels, self.ways),
            Batch.of_labels(query, wanted, self.ways),
        )

    def class_names(self, *data) -> tuple[str, ...]:
        return self.names

    def episode_classes(self, data: _Rows, asked: _Rows, texts: Array, key: Key):
        class_key = jax.random.split(key)[0]
        return choose(class_key, len(self.names), self.ways)

    def _images(self, data: _Rows, classes: Array, rows: Array) -> tuple[Array, Array]:
        """Pictures `[ways * m, ...]` and their labels."""
        images = data.at(jnp.broadcast_to(classes[:, None], rows.shape), rows)
        labels = class_labels(self.ways, rows.shape[1])
        return images.reshape(-1, *images.shape[2:]), labels


def _of_images(images: Array, width: int, dtype) -> Seen:
    n = len(images)
    there = jnp.tile(jnp.array([1, 0], dtype), (n, 1))
    return Seen(images, jnp.zeros((n, width), dtype), there)


def _check(field: str, data: Dataset, least: int) -> None:
    """Refuses a class with too few pictures, before anything compiles."""
    counts = np.asarray(data.counts)
    few = np.flatnonzero(counts < least)
    if len(few):
        name, got = data.names[few[0]], counts[few[0]]
        raise refusal(
            f"{field}: class {name!r}", f"{got} pictures", f"at least {least}"
        )
