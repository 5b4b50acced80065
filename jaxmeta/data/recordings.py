"""Recordings of words by speakers: each has two labels, and either can be the class."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxmeta.data.arrays import Dataset, from_counts
from jaxmeta.data.errors import DataError
from jaxmeta.data.folders import SOUNDS, list_classes
from jaxmeta.data.waves import load_waves


class Recordings(NamedTuple):
    """Words said by speakers.

    Attributes:
      inputs: `[n, ...]`: waves float32 `[n, samples]`, or what was made of them.
      words: int `[n]`: which word each is.
      speakers: int `[n]`: who says it.
      word_names: of the words, by number.
      speaker_names: of the speakers, by number.
    """

    inputs: np.ndarray
    words: np.ndarray
    speakers: np.ndarray
    word_names: tuple[str, ...]
    speaker_names: tuple[str, ...]


class Made(NamedTuple):
    """Examples by class, and who or what made each.

    Attributes:
      data: the examples.
      hands: int `[n]`, a number for each row of `data.inputs`.
    """

    data: Dataset
    hands: np.ndarray


def select(
    found: Recordings,
    *,
    words: Sequence[str] | None = None,
    speakers: Sequence[str] | None = None,
) -> Recordings:
    """Keeps the recordings of some words by some speakers.

    Args:
      found: recordings.
      words: names; `None`: all.
      speakers: names; `None`: all.

    Returns:
      `Recordings` with all names as before, so that numbers keep their meaning.

    Raises:
      DataError: a name that there is not, or nothing left.

    >>> said = Recordings(np.arange(2), np.array([0, 1]), np.array([0, 0]), ("no", "yes"), ("Ann",))
    >>> select(said, words=["yes"]).inputs.tolist()
    [1]
    """
    keep = np.ones(len(found.inputs), bool)
    for field, wanted, names, labels in (
        ("words", words, found.word_names, found.words),
        ("speakers", speakers, found.speaker_names, found.speakers),
    ):
        if wanted is None:
            continue
        for name in wanted:
            if name not in names:
                raise DataError(f"{field}: got {name!r}, wants of {', '.join(names)}")
        keep &= np.isin(labels, [names.index(name) for name in wanted])
    if not keep.any():
        raise DataError("recordings: got none of these words by these speakers")
    return found._replace(
        inputs=found.inputs[keep],
        words=found.words[keep],
        speakers=found.speakers[keep],
    )


def by_word(found: Recordings) -> Made:
    """Words are the classes, speakers the hands.

    Args:
      found: recordings.

    Returns:
      `Made`, in which words that nobody says are no classes.

    >>> two, names = np.arange(2), (("no", "yes"), ("A", "B"))
    >>> said = Recordings(two, two[::-1], two, *names)
    >>> by_word(said).data.names, by_word(said).hands.tolist()
    (('no', 'yes'), [1, 0])
    """
    return _made(found.inputs, found.words, found.word_names, found.speakers)


def by_speaker(found: Recordings) -> Made:
    """Speakers are the classes, words the hands.

    Args:
      found: recordings.

    Returns:
      `Made`, in which speakers who say nothing are no classes.

    >>> two, names = np.arange(2), (("no", "yes"), ("A", "B"))
    >>> said = Recordings(two, two[::-1], two, *names)
    >>> by_speaker(said).data.names, by_speaker(said).hands.tolist()
    (('A', 'B'), [1, 0])
    """
    return _made(found.inputs, found.speakers, found.speaker_names, found.words)


def sound_folder(
    root: str | os.PathLike[str], *, rate: int, seconds: float = 1.0
) -> Recordings:
    """Reads `root/<word>/<speaker>_*.wav`; words and files are in sorted order.

    The speaker is what stands before the first "_" of a file's name, as it does in
    Google's Speech Commands; a name without one is a speaker of its own.

    Args:
      root: a folder with a folder a word.
      rate: samples in a second, as of `load_waves`.
      seconds: the length of what is kept, as of `load_waves`.

    Returns:
      `Recordings` with waves float32 `[n, samples]`.

    Raises:
      DataError: no such folder, no classes in it, a class without a recording, or a
        recording that cannot be used.

    Example:
      >>> found = sound_folder("my-words", rate=16000)  # doctest: +SKIP
      >>> found.word_names, found.speaker_names  # doctest: +SKIP
      (('no', 'yes'), ('ann', 'bob'))
    """
    classes = list_classes(root, files=SOUNDS)
    paths = [path for found in classes.values() for path in found]
    waves = load_waves(paths, rate=rate, seconds=seconds)
    said = [path.stem.split("_")[0] for path in paths]
    names = tuple(sorted(set(said)))
    return Recordings(
        waves,
        np.repeat(np.arange(len(classes)), [len(p) for p in classes.values()]),
        np.array([names.index(name) for name in said]),
        tuple(classes),
        names,
    )


def sound_classes(
    root: str | os.PathLike[str] | Path, *, rate: int, seconds: float = 1.0
) -> Dataset:
    """Reads `root/<class>/*.wav` as `image_folder` reads pictures.

    Args:
      root: a folder with a folder a class.
      rate: samples in a second, as of `load_waves`.
      seconds: the length of what is kept, as of `load_waves`.

    Returns:
      A `Dataset` with waves float32 `[n, samples]`.

    Raises:
      DataError: as of `sound_folder`.

    Example:
      >>> sound_classes("my-words", rate=16000).names  # doctest: +SKIP
      ('no', 'yes')
    """
    return by_word(sound_folder(root, rate=rate, seconds=seconds)).data


def _made(inputs, labels, names, hands) -> Made:
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=len(names))
    there = np.flatnonzero(counts)
    kept = tuple(names[i] for i in there)
    return Made(from_counts(inputs[order], counts[there], kept), hands[order])
