"""Recordings of words by speakers: each has two labels, and either can be the class."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxmeta.data.arrays import Dataset, from_counts
from jaxmeta.data.errors import DataError
from jaxmeta.data.folders import SOUNDS, list_classes
from jaxmeta.data.splitting import ENOUGH, Splits
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


class Crossed(NamedTuple):
    """Three parts of recordings, each with who or what made every example.

    Attributes:
      train: to learn from.
      val: to choose by.
      test: to report on.
    """

    train: Made
    val: Made
    test: Made

    @property
    def splits(self) -> Splits:
        """The data sets alone."""
        return Splits(*(part.data for part in self))


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


def split_crossed(
    found: Recordings, *, classes: Literal["words", "speakers"] = "words"
) -> Crossed:
    """Splits words and speakers by their names alone: the test is new in both.

    The classes are split by the rule of `split_classes`. The hands, which are the other
    of the two, are trained on, chosen by and tested on in turn, in the order of their
    names.

    Args:
      found: recordings, from `sound_folder`.
      classes: what is to be told apart.

    Returns:
      `Crossed`.

    Raises:
      DataError: fewer than 4 classes, fewer than 6 hands, or a part in which nothing is.

    >>> n = np.arange(24)
    >>> said = Recordings(n, n // 6, n % 6, tuple("abcd"), tuple("ABCDEF"))
    >>> [part.data.names for part in split_crossed(said)]
    [('a', 'c'), ('a', 'c'), ('b', 'd')]
    """
    words = classes == "words"
    names, hands = found.word_names, found.speaker_names
    names, hands = (names, hands) if words else (hands, names)
    if len(names) < 4 or len(hands) < 6:
        other = "speakers" if words else "words"
        raise DataError(
            f"recordings: got {len(names)} {classes} and {len(hands)} {other}, wants 4 "
            f"and 6 or more: two {other} or more to learn from, choose by and test on"
        )
    few = len(names) < ENOUGH
    kind = [0, 2] if few else [0, 0, 0, 1, 2]
    parts = []
    for i in range(3):
        part = 0 if few and i == 1 else i
        mine = [n for j, n in enumerate(names) if kind[j % len(kind)] == part]
        by = hands[i::3]
        chosen = (mine, by) if words else (by, mine)
        some = select(found, words=chosen[0], speakers=chosen[1])
        parts.append(by_word(some) if words else by_speaker(some))
    return Crossed(*parts)


def _made(inputs, labels, names, hands) -> Made:
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels, minlength=len(names))
    there = np.flatnonzero(counts)
    kept = tuple(names[i] for i in there)
    return Made(from_counts(inputs[order], counts[there], kept), hands[order])
