"""Someone's own data as classes: folders of images or recordings, arrays, TFDS."""

import warnings
from functools import partial
from pathlib import Path
from typing import Literal

from jaxmeta import data as readers
from jaxmeta import report
from jaxmeta.data.npz import check_finite, npz_arrays
from jaxmeta.data.splitting import RULE
from jaxmeta.recipes import sounds
from jaxmeta.recipes.parts import Source
from jaxmeta.recipes.reading import read_data, says_rule
from jaxmeta.runs import reader
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.files import expanded
from jaxmeta.runs.making import unread


@says_rule
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
        read_data(read, data, "a folder with <word>/<speaker>_*.wav"),
        name=Path(data).name if data else "own recordings",
        told=told,
        rate=hertz,
        seconds=seconds,
        bands=bands,
        rule=RULE,
    )


@says_rule
def folder(
    *,
    data: str | None = None,
    size: int = 28,
    mode: Literal["L", "RGB"] = "L",
    invert: bool = False,
    trim: bool = False,
) -> Source:
    """Your own images: --data FOLDER with <class>/*.png, or train, val, test of them.

    Args:
      data: folder with <class>/*.png or .jpg, or train, val and test of them.
      size: side of the images in pixels; every image is resized to it.
      mode: grey or colour (RGB); photographs are RGB.
      invert: turn dark on light into light on dark.
      trim: cut each drawing to the square around its ink (where invert: the dark).
    """

    sorted_ = data is not None and (expanded(data) / "train").is_dir()

    def read(root: Path) -> readers.Splits:
        options = {"size": size, "mode": mode, "invert": invert, "trim": trim}
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
        read_data(
            read, data, "a folder with <class>/*.png, or train, val and test of them"
        ),
        shape=(size, size, 3 if mode == "RGB" else 1),
        rule="" if sorted_ else RULE,
        reader=reader.images(size, mode, invert=invert, trim=trim),
        pictures=(partial(report.images, ink=invert), report.per_class),
    )


@says_rule
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
    return Source("own arrays", read_data(read, data, wants, file=True), rule=RULE)


@says_rule
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


@says_rule
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
