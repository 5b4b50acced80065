"""Data sets of the command line: `--dataset NAME`, each with options of its own."""

import inspect
import textwrap
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from jaxmeta import data as readers
from jaxmeta import report, tasks
from jaxmeta.data.npz import MissingArray, check_finite, npz_arrays
from jaxmeta.data.splitting import RULE
from jaxmeta.recipes import sounds
from jaxmeta.recipes.parts import Source
from jaxmeta.runs import reader
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.making import unread
from jaxmeta.runs.options import OneOf


def _says_rule(function: Callable[..., Source]) -> Callable[..., Source]:
    """Puts the rule of the split into the help of a source that has none of its own."""
    text = textwrap.fill(f"Classes without a split are split by name: {RULE}.", 84)
    doc = inspect.cleandoc(function.__doc__ or "")
    function.__doc__ = doc.replace("\n\nArgs:", f"\n\n{text}\n\nArgs:", 1)
    return function


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
    rotations: bool = True,
) -> Source:
    """1,623 characters of 50 alphabets, 20 drawings each: --data FOLDER.

    Args:
      data: folder that holds Omniglot's two zip files, or their content.
      split: Vinyals' 1028/172/423 classes, or background/evaluation.
      size: side of the images in pixels.
      rotations: make four classes of each by quarter turns, as published.
    """
    wants = "the folder that holds Omniglot's two zip files"

    def read(root: Path) -> readers.Splits:
        return readers.omniglot(root, size, split=split)

    return Source(
        "Omniglot",
        _read(read, data, wants),
        shape=(size, size, 1),
        rotations=rotations,
        group=lambda name: name.split("/")[0],  # the alphabet
        reader=reader.images(size, ink=True),
        pictures=(partial(report.images, ink=True), report.per_class),
        facts={"split": split},
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
        _read(read, data, wants),
        name="spoken digits",
        told=told,
        rate=sounds.RATE,
        seconds=seconds,
        bands=bands,
        facts={"fold": fold, "validated": validate},
    )


@_says_rule
def sound_folder(
    *,
    data: str | None = None,
    told: sounds.Told = "word",
    hertz: int = 16000,
    seconds: float = 1.0,
    bands: int = 32,
) -> Source:
    """Your own recordings: --data FOLDER with <word>/<speaker>_*.wav.

    What is not told apart, the speakers of words, is trained on, chosen by and tested on
    in turn, in the order of the names: six or more.

    Args:
      data: folder with <word>/<speaker>_*.wav, as Speech Commands has them.
      told: what is told apart: the word, or the speaker.
      hertz: samples in a second; files of another rate are refused.
      seconds: of a recording that are kept: the loudest.
      bands: mel bands of a spectrogram.
    """
    read = partial(sounds.own, told=told, rate=hertz, seconds=seconds)
    return sounds.source_of(
        _read(read, data, "a folder with <word>/<speaker>_*.wav"),
        name=Path(data).name if data else "own recordings",
        told=told,
        rate=hertz,
        seconds=seconds,
        bands=bands,
        rule=RULE,
    )


@_says_rule
def folder(
    *,
    data: str | None = None,
    size: int = 28,
    mode: Literal["L", "RGB"] = "L",
    invert: bool = False,
) -> Source:
    """Your own images: --data FOLDER with <class>/*.png, or train, val, test of them.

    Args:
      data: folder with <class>/*.png or .jpg, or train, val and test of them.
      size: side of the images in pixels; every image is resized to it.
      mode: grey or colour (RGB); photographs are RGB.
      invert: turn dark on light into light on dark.
    """

    sorted_ = data is not None and (Path(data).expanduser() / "train").is_dir()

    def read(root: Path) -> readers.Splits:
        options = {"size": size, "mode": mode, "invert": invert}
        if sorted_:
            splits = readers.image_folder_splits(root, **options)
        else:
            splits = readers.split_classes(readers.image_folder(root, **options))
        classes = readers.list_classes(root / "train" if sorted_ else root)
        if mode == "L" and readers.in_colour([paths[0] for paths in classes.values()]):
            warnings.warn(
                "data: images in colour are read as grey; --mode RGB keeps their colour",
                stacklevel=2,
            )
        return splits

    name = Path(data).name if data else "own images"
    return Source(
        name or "own images",
        _read(
            read, data, "a folder with <class>/*.png, or train, val and test of them"
        ),
        shape=(size, size, 3 if mode == "RGB" else 1),
        rule="" if sorted_ else RULE,
        reader=reader.images(size, mode, invert=invert),
        pictures=(partial(report.images, ink=invert), report.per_class),
    )


@_says_rule
def npz(*, data: str | None = None) -> Source:
    """Your own arrays: --data FILE.npz with inputs [n, ...], labels [n], maybe names.

    Args:
      data: file with the arrays inputs [n, ...] and labels [n]; names [classes] too.
    """

    def read(file: Path) -> readers.Splits:
        found = npz_arrays(file, ("inputs", "labels"), ("names",))
        names = [str(n) for n in found["names"]] if "names" in found else None
        whole = readers.from_labels(found["inputs"], found["labels"], names)
        check_finite(found["inputs"])  # numbered as they are in the file
        return readers.split_classes(whole)

    wants = "a file FILE.npz with the arrays inputs and labels"
    return Source("own arrays", _read(read, data, wants, file=True), rule=RULE)


@_says_rule
def tfds(
    *,
    data: str | None = None,
    data_dir: str | None = None,
    size: int = 28,
) -> Source:
    """Any prepared set of TensorFlow Datasets: --data tfds:NAME.

    Args:
      data: tfds:NAME, or NAME: omniglot, cifar100, emnist/letters.
      data_dir: where prepared sets lie; None: as TFDS does.
      size: side of the images in pixels; every image is resized to it.
    """
    name = (data or "").removeprefix("tfds:")

    def read() -> readers.Splits:
        whole = readers.tfds(name, size=size, data_dir=data_dir)
        return readers.split_classes(whole)

    if not name:
        raise ConfigError("data", "nothing", "tfds:NAME, a prepared set of TFDS")
    splits = None if unread() else read()
    shape = (size, size, 3) if splits is None else splits.train.inputs.shape[1:]
    pictures = (report.images, report.per_class)
    return Source(name, splits, shape=shape, rule=RULE, pictures=pictures)


@_says_rule
def own(
    *,
    data: str | None = None,
    size: int = 28,
    mode: Literal["L", "RGB"] = "L",
    invert: bool = False,
) -> Source:
    """Your own data: a folder of images, arrays in a FILE.npz, or tfds:NAME.

    Args:
      data: folder with <class>/*.png, FILE.npz, or tfds:NAME.
      size: side of images in pixels; every image is resized to it.
      mode: grey or colour (RGB); photographs are RGB.
      invert: turn dark on light into light on dark.
    """
    if data is not None and data.startswith("tfds:"):
        return tfds(data=data, size=size)
    if data is not None and data.endswith(".npz"):
        return npz(data=data)
    return folder(data=data, size=size, mode=mode, invert=invert)


def _photographs(
    name: str, read: Callable[..., readers.Splits], data, size: int, *, resize=False
) -> Source:
    """A published set of colour photographs."""

    def load(root: Path) -> readers.Splits:
        return read(root, size) if resize else read(root)

    return Source(
        name,
        _read(load, data, f"the folder with {name}"),
        shape=(size, size, 3),
        reader=reader.images(size, "RGB"),
        pictures=(report.images, report.per_class),
    )


def _read(read, data: str | None, wants: str, *, file=False) -> Any:
    """What a reader finds at a path; what it objects to is about `data`."""
    if unread():
        return None
    root = existing(data, wants, file=file)
    try:
        return read(root)
    except ConfigError:
        raise
    except MissingArray as error:
        raise ConfigError("data", f"{data} without {error.name}", str(error)) from error
    except (readers.DataError, OSError, ValueError) as error:
        raise ConfigError("data", data, f"a readable data set: {error}") from error


def existing(data: str | None, wants: str, *, file=False) -> Path:
    """The path that an option names, if it is there."""
    if data is None:
        raise ConfigError("data", "nothing", wants)
    root = Path(data).expanduser()
    if not (root.is_file() if file else root.is_dir()):
        kind = "file" if file else "folder"
        raise ConfigError("data", f"{data}, which is no {kind}", wants)
    return root


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
