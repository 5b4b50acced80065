"""Recordings on the command line: words by new speakers, speakers by new words."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxmeta import data as readers
from jaxmeta import report
from jaxmeta.data.spoken_digits import RATE as RATE
from jaxmeta.functional import augment, sound
from jaxmeta.recipes.parts import Hands, Source
from jaxmeta.runs import reader
from jaxmeta.runs.errors import ConfigError

Told = Literal["word", "speaker"]
FRAME, HOP = 0.032, 0.025  # seconds

EACH = augment.chain(
    partial(sound.pace, most=0.15),
    partial(sound.time_shift, most=4),
    partial(sound.time_mask, width=6),
    partial(sound.frequency_mask, width=5),
)
"""What training does to each recording: none of it makes another word or speaker."""


class Heard(NamedTuple):
    """Recordings, read and split.

    Attributes:
      waves: float32 `[n, samples]`.
      parts: to train on, choose by, test on, with the rows of `waves` as examples.
    """

    waves: np.ndarray
    parts: readers.Crossed


def digits(root: Path, *, told: Told, fold: int, validate: bool, seconds: float):
    """Free Spoken Digits as `Heard`."""
    found = readers.spoken_digits(root, seconds=seconds)
    if told == "speaker":
        parts = readers.speaker_splits(_rows(found), fold=fold)
    else:
        parts = readers.word_splits(_rows(found), fold=fold, validate=validate)
    return Heard(found.inputs, parts)


def own(root: Path, *, told: Told, rate: int, seconds: float):
    """A folder of one's own as `Heard`."""
    found = readers.sound_folder(root, rate=rate, seconds=seconds)
    classes = "words" if told == "word" else "speakers"
    return Heard(found.inputs, readers.split_crossed(_rows(found), classes=classes))


def source_of(
    found: Heard | None,
    *,
    name: str,
    told: Told,
    rate: int,
    seconds: float,
    bands: int,
    rule: str = "",
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> Source:
    """A source of spectrograms.

    Args:
      found: the recordings; `None`: unread.
      name: for titles.
      told: apart: words or speakers.
      rate: samples in a second.
      seconds: of a recording.
      bands: of mel.
      rule: how classes were split.
      facts: for result.json.
    """
    frames = 1 + (round(rate * seconds) - round(FRAME * rate)) // round(HOP * rate)
    if frames < 1 or bands < 1:
        wants = "a frame of 32 ms and a band, or more"
        raise ConfigError("seconds, bands", f"{seconds:g}, {bands}", wants)
    splits = hands = None
    if found is not None:
        heard = readers.spectrograms(
            found.waves, rate=rate, bands=bands, frame=FRAME, hop=HOP
        )
        splits = readers.Splits(
            *(p.data._replace(inputs=heard[p.data.inputs]) for p in found.parts)
        )
        warps = (sound.backwards, sound.other_voice)
        train, val, test = (part.hands for part in found.parts)
        other_word, other_hand = warps if told == "word" else warps[::-1]
        hands = Hands(train, val, test, other_word, other_hand, EACH)
    return Source(
        name,
        splits,
        shape=(bands, frames, 1),
        hands=hands,
        rule=rule,
        reader=reader.sounds(rate=rate, seconds=seconds, bands=bands),
        pictures=(partial(report.images, ink=True, upwards=True), report.per_class),
        facts={"told": told, **facts},
    )


def _rows(found: readers.Recordings) -> readers.Recordings:
    """The recordings with their numbers in place of their waves."""
    return found._replace(inputs=np.arange(len(found.inputs)))
