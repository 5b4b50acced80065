"""Sets of labelled examples, where training and test share their classes."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxmeta import data as readers
from jaxmeta import report, tasks
from jaxmeta.core import Pictures, Task
from jaxmeta.data import Dataset
from jaxmeta.recipes.parts import Source
from jaxmeta.runs import reader
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import Picture
from jaxmeta.runs.files import expanded
from jaxmeta.runs.reader import Reader

IMAGES = "a folder with <class>/*.png or .jpg"


class Labelled(NamedTuple):
    """A set of examples by class.

    Attributes:
      name: for titles.
      data: the examples.
      reader: how someone's own files become inputs.
      pictures: parts of the page.
      parts: the examples, where their owner has split them.
    """

    name: str
    data: Dataset
    reader: Reader | None = None
    pictures: tuple[Picture, ...] = ()
    parts: "Thirds | None" = None


class Thirds(NamedTuple):
    """Examples of the same classes: to learn from, to choose by, to test on."""

    train: Dataset
    val: Dataset
    test: Dataset


def glyphs(*, classes: int = 8, examples: int = 20, size: int = 28) -> Labelled:
    """Characters of random strokes, a fixed set of them: no download.

    Args:
      classes: how many characters.
      examples: drawings of each.
      size: side of the images in pixels.
    """
    return Labelled(
        "drawn glyphs",
        drawn(tasks.glyphs(classes, examples, 1, size=size)),
        reader.images(size, ink=True),
        _pictures(ink=True),
    )


def folder(
    *,
    data: str | None = None,
    size: int = 28,
    mode: Literal["L", "RGB"] = "L",
    invert: bool = False,
) -> Labelled:
    """Your own images: --data FOLDER with <class>/*.png.

    Args:
      data: folder with <class>/*.png or .jpg.
      size: side of the images in pixels; every image is resized to it.
      mode: grey or colour (RGB); photographs are RGB.
      invert: turn dark on light into light on dark.
    """
    options = {"size": size, "mode": mode, "invert": invert}
    found = images("data", data, **options)
    name = expanded(data or "").resolve().name
    read = reader.images(size, mode, invert=invert)
    return Labelled(name, found, read, _pictures(ink=invert))


def photographs(
    *, data: str | None = None, size: int | None = None, wants: Pictures | None = None
) -> Labelled:
    """Your own photographs: --data FOLDER with <class>/*.jpg, or train, val, test of them.

    Args:
      data: folder with <class>/*.jpg or .png, or train, val and test of the same classes.
      size: side of the images in pixels; None: what the backbone was trained with, 84
        without one.
      wants: what the backbone was trained with.
    """
    size = size or (84 if wants is None else wants.size)
    read = partial(images, "data", size=size, mode="RGB")
    root = expanded(data or "").resolve()
    parts = None
    if data is not None and (root / "train").is_dir():
        parts = Thirds(*(read(str(root / name)) for name in Thirds._fields))
        for name, part in zip(Thirds._fields, parts, strict=True):
            if part.names != parts.train.names:
                odd = sorted(set(part.names) ^ set(parts.train.names))
                wanted = f"the classes of train in {name}: not so {', '.join(odd[:3])}"
                raise ConfigError("data", data, wanted)
    whole = read(data) if parts is None else parts.train
    turned = reader.images(size, "RGB")
    return Labelled(root.name, whole, turned, _pictures(ink=False), parts)


def wanted(dataset: Callable[..., Labelled], pictures: Pictures | None) -> Labelled:
    """The examples, at the size that a network wants, where they are photographs."""
    takes = "wants" in inspect.signature(dataset).parameters
    return dataset(wants=pictures) if takes else dataset()


def _pictures(ink: bool) -> tuple[Picture, ...]:
    return partial(report.images, ink=ink), report.per_class


def images(field: str, folder: str | None, **options: Any) -> Dataset:
    """The images of a folder; what is wrong with it is about the option `field`."""
    if folder is None:
        raise ConfigError(field, "nothing", IMAGES)
    root = expanded(folder)
    if not root.is_dir():
        raise ConfigError(field, f"{folder}, which is no folder", IMAGES)
    try:
        return readers.image_folder(root, **options)
    except (readers.DataError, OSError) as error:
        raise ConfigError(field, folder, f"readable images: {error}") from error


def drawn(task: Task, seed: int = 0) -> Dataset:
    """The support set of one episode as a data set: classes that were made up once.

    What a run learns from is the same whatever its seed.
    """
    support = jax.jit(task)(jax.random.key(seed)).support
    labels = np.asarray(support.targets).argmax(-1)
    return readers.from_labels(np.asarray(support.inputs), labels)


def classes_of(source: Source, classes: int, examples: int) -> Dataset:
    """The training classes of a source; of one that is drawn, so many made-up ones.

    Of a set whose classes are four by quarter turns, so are these.
    """
    if source.draw is not None:
        return drawn(source.draw(classes, examples, 1))
    if source.splits is None:
        raise ConfigError(
            "data", "nothing", "the data: their classes are the network's"
        )
    part = source.splits.train
    if not source.rotations:
        return part
    turned = [np.rot90(part.inputs, k, (1, 2)) for k in range(4)]
    names = [f"{name} turned {90 * k}" for k in range(4) for name in part.names]
    return readers.from_counts(np.concatenate(turned), np.tile(part.counts, 4), names)


def held_out(part: Dataset, every: int, first: int = 0) -> tuple[Dataset, Dataset]:
    """All but every so many examples of each class, by position; and those.

    >>> rest, held = held_out(readers.from_counts(np.arange(4), [2, 2], ("a", "b")), 2)
    >>> rest.inputs.tolist(), held.inputs.tolist()
    ([1, 3], [0, 2])
    """
    held = np.concatenate([np.arange(n) % every == first for n in part.counts])

    def take(rows: np.ndarray) -> Dataset:
        each = np.split(rows, np.cumsum(part.counts)[:-1])
        counts = [int(r.sum()) for r in each]
        return readers.from_counts(part.inputs[rows], counts, part.names)

    return take(~held), take(held)


def thirds(part: Dataset) -> Thirds:
    """Three of five examples of each class to learn from, one to choose by, one to test.

    By position: train, train, train, val, test, train, ...
    """
    short = [n for n, count in zip(part.names, part.counts, strict=True) if count < 10]
    if short:
        i = part.names.index(short[0])
        got = f"{part.counts[i]} examples in class {short[0]!r}"
        wants = "at least 10: of five three are learned from, one chooses, one tests"
        raise ConfigError("data", got, wants)
    rest, test = held_out(part, 5, 4)
    train, val = held_out(rest, 4, 3)
    return Thirds(train, val, test)


def episodes(name: str, part: Dataset, queries: int) -> Task:
    """All classes, always in their order: what a fixed classifier is judged by."""
    most = min(part.counts) - 1
    if most < 1:
        wants = f"more data: {name} has {most + 1} of a class, an episode takes two"
        raise ConfigError("queries", queries, wants)
    if not 1 <= queries <= most:
        wants = f"an integer from 1 to {most}: {name} has {most + 1} of a class"
        raise ConfigError("queries", queries, wants)
    return tasks.domains({name: part}, len(part.names), 1, queries, shuffle=False)
