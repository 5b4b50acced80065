"""Data sets of the command line: `--dataset NAME`, each with options of its own."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from jaxmeta import data as readers
from jaxmeta import report, tasks
from jaxmeta.recipes import sounds
from jaxmeta.recipes.parts import Source
from jaxmeta.recipes.reading import read_data
from jaxmeta.recipes.sources_own import folder, npz, own, sound_folder, tfds
from jaxmeta.runs import reader
from jaxmeta.runs.options import OneOf


def glyphs(*, size: int = 28) -> Source:
    """Characters of random strokes, drawn on the fly: no download.

    Args:
      size: side of the images in pixels.
    """
    return Source(
        "drawn glyphs",
        draw=lambda *sizes: tasks.glyphs(*sizes, size=size),
        shape=(size, size, 1),
        reader=reader.images(size, ink=True),
        pictures=(partial(report.images, ink=True),),
    )


def omniglot(
    *,
    data: str | None = None,
    split: Literal["vinyals", "official"] = "vinyals",
    size: int = 28,
    trim: bool = False,
    rotations: bool = True,
    validate: bool = True,
) -> Source:
    """1,623 characters of 50 alphabets, 20 drawings each: --data FOLDER.

    Args:
      data: folder that holds Omniglot's two zip files, or their content.
      split: Vinyals' 1028/172/423 classes, or background/evaluation.
      size: side of the images in pixels.
      trim: cut each drawing to the square around its ink.
      rotations: make four classes of each by quarter turns, as published.
      validate: whether there are classes to choose by; False: they are trained on, too.
    """
    wants = "the folder that holds Omniglot's two zip files"

    def read(root: Path) -> readers.Splits:
        found = readers.omniglot(root, size, split=split, trim=trim)
        if validate:
            return found
        both = readers.merge(found.train, found.val)
        return readers.Splits(both, both, found.test)

    return Source(
        "Omniglot",
        read_data(read, data, wants),
        shape=(size, size, 1),
        rotations=rotations,
        group=lambda name: name.split("/")[0],  # the alphabet
        reader=reader.images(size, ink=True, trim=trim),
        pictures=(partial(report.images, ink=True), report.per_class),
        facts={"split": split, "validated": validate},
    )


def cifar_fs(*, data: str | None = None) -> Source:
    """CIFAR-100 in 64/16/20 classes, 600 photographs each: --data FOLDER.

    Args:
      data: folder with CIFAR-100.
    """
    return _photographs("CIFAR-FS", readers.cifar_fs, data, 32)


def fc100(*, data: str | None = None) -> Source:
    """CIFAR-100 in 60/20/20 classes, split by superclass: --data FOLDER.

    Args:
      data: folder with CIFAR-100.
    """
    return _photographs("FC100", readers.fc100, data, 32)


def mini_imagenet(*, data: str | None = None, size: int = 84) -> Source:
    """64/16/20 classes of ImageNet, folders or Ravi's lists: --data FOLDER.

    Args:
      data: folder with miniImageNet.
      size: side of the images in pixels.
    """
    return _photographs("miniImageNet", readers.mini_imagenet, data, size, resize=True)


def tiered_imagenet(*, data: str | None = None, size: int = 84) -> Source:
    """351/97/160 classes of ImageNet in 34 groups: --data FOLDER.

    Args:
      data: folder with tieredImageNet.
      size: side of the images in pixels.
    """
    name, read = "tieredImageNet", readers.tiered_imagenet
    return _photographs(name, read, data, size, resize=True)


def cub(*, data: str | None = None, size: int = 84) -> Source:
    """200 species of birds, 100/50/50: --data FOLDER.

    Args:
      data: folder with CUB-200-2011.
      size: side of the images in pixels.
    """
    return _photographs("CUB", readers.cub, data, size, resize=True)


def grocery(*, data: str | None = None, size: int = 144) -> Source:
    """81 products photographed in shops, 45/15/21: --data FOLDER.

    Args:
      data: folder with train.zip, val.zip and test.zip of Grocery Store.
      size: side of the images in pixels.
    """
    name, read = "Grocery Store", readers.grocery_splits
    return _photographs(name, read, data, size, resize=True)


def spoken_digits(
    *,
    data: str | None = None,
    told: sounds.Told = "word",
    fold: int = 0,
    validate: bool = True,
    seconds: float = 1.0,
    bands: int = 32,
) -> Source:
    """Ten spoken digits by six speakers, 3,000 recordings: --data FOLDER.

    Words are tested on that training did not hear, by speakers whom it did not hear: two
    of six, and five of ten words. Speakers are tested by words that training did not
    hear; they are the six of training.

    Args:
      data: folder with spoken_digits.zip of Free Spoken Digits, or its recordings/.
      told: what is told apart: the word, or the speaker.
      fold: which words and speakers are tested on, 0 to 5.
      validate: whether two speakers choose; False: they are trained on, too (word).
      seconds: of a recording that are kept.
      bands: mel bands of a spectrogram.
    """
    wants = "the folder that holds spoken_digits.zip"
    read = partial(
        sounds.digits, told=told, fold=fold, validate=validate, seconds=seconds
    )
    return sounds.source_of(
        read_data(read, data, wants),
        name="spoken digits",
        told=told,
        rate=sounds.RATE,
        seconds=seconds,
        bands=bands,
        facts={"fold": fold, "validated": validate},
    )


def _photographs(
    name: str, read: Callable[..., readers.Splits], data, size: int, *, resize=False
) -> Source:
    """A published set of colour photographs."""

    def load(root: Path) -> readers.Splits:
        return read(root, size) if resize else read(root)

    return Source(
        name,
        read_data(load, data, f"the folder with {name}"),
        shape=(size, size, 3),
        reader=reader.images(size, "RGB"),
        pictures=(report.images, report.per_class),
    )


SOURCES = {
    f.__name__: f
    for f in (
        *(
            glyphs,
            omniglot,
            cifar_fs,
            fc100,
            mini_imagenet,
            tiered_imagenet,
            cub,
            grocery,
            spoken_digits,
        ),
        *(own, folder, sound_folder, npz, tfds),
    )
}
"""Every data set of classes by name."""

ANY = OneOf(SOURCES)
