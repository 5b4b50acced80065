"""Free Spoken Digits: ten words, said fifty times each by six speakers, at 8 kHz.

Jackson et al., https://github.com/Jakobovski/free-spoken-digit-dataset (CC BY-SA 4.0).
"""

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxmeta.data.errors import DataError
from jaxmeta.data.recordings import Crossed, Recordings, by_speaker, by_word, select
from jaxmeta.data.waves import decode_waves
from jaxmeta.data.zipped import ZIP_ERRORS, damaged, names_in

RATE = 8000
TAKES = 50  # of each word by each speaker
WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
)  # fmt: skip
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
FOLDS = 6
MAX_BYTES = 2**20  # of one recording, unpacked
FILE = "spoken_digits.zip"
WHERE = "https://github.com/Jakobovski/free-spoken-digit-dataset"
_NAME = re.compile(rf"(\d)_({'|'.join(SPEAKERS)})_(\d+)\.wav")


def spoken_digits(root: str | os.PathLike[str], *, seconds: float = 1.0) -> Recordings:
    """Reads the 3,000 recordings from `spoken_digits.zip`, or from `recordings/`.

    Args:
      root: the folder with the zip file or with the folder.
      seconds: the length of what is kept, as of `load_waves`; 99 of 100 have less than 1.

    Returns:
      `Recordings` with waves float32 `[3000, samples]`, words and speakers in the order
      of `WORDS` and `SPEAKERS`, takes in theirs.

    Raises:
      DataError: a file is missing or damaged, or this is not Free Spoken Digits.

    Example:
      >>> spoken_digits("data").inputs.shape  # doctest: +SKIP
      (3000, 8000)
    """
    root = Path(root)
    source = root / FILE if (root / FILE).is_file() else root / "recordings"
    if not source.exists():
        raise DataError(
            f"spoken digits: {root} has neither {FILE} nor recordings/, wants one of "
            f"them (they are at {WHERE})"
        )
    listed = _list(source)
    waves = decode_waves(
        _open(source, listed), count=len(listed), rate=RATE, seconds=seconds
    )
    labels = np.array([(word, SPEAKERS.index(who)) for word, who, _, _ in listed])
    return Recordings(waves, labels[:, 0], labels[:, 1], WORDS, SPEAKERS)


def word_splits(found: Recordings, *, fold: int = 0, validate: bool = True) -> Crossed:
    """New words by new speakers: of six speakers two each, of ten words five and five.

    In the order of their names, speakers make three pairs; fold f tests on pair f, chooses
    by the next and trains on the last (counted modulo 3). Words are trained on at every
    other place (the even digits, of an even fold) and tested on at the rest. The words
    to choose by are those of training, said by other people: with ten words there are
    none to spare. So a choice is optimistic in words, and the test is new in both.

    Args:
      found: from `spoken_digits`.
      fold: 0 to 5; 3 to 5 are the pairs of 0 to 2 with the words changed over.
      validate: `False` trains on the second pair too and has no part to choose by: `val`
        is `train`. For the last training, after all choices.

    Returns:
      `Crossed`, words as classes and speakers as hands.

    Raises:
      DataError: no such fold.

    Example:
      >>> parts = word_splits(spoken_digits("data"))  # doctest: +SKIP
      >>> parts.test.data.names  # doctest: +SKIP
      ('one', 'three', 'five', 'seven', 'nine')
    """
    pairs = [SPEAKERS[2 * i : 2 * i + 2] for i in range(3)]
    test, val, train = (pairs[(_fold(fold) + i) % 3] for i in range(3))
    known, new = WORDS[fold // 3 :: 2], WORDS[1 - fold // 3 :: 2]
    learn = by_word(
        select(found, words=known, speakers=train if validate else train + val)
    )
    choose = by_word(select(found, words=known, speakers=val)) if validate else learn
    return Crossed(learn, choose, by_word(select(found, words=new, speakers=test)))


def speaker_splits(found: Recordings, *, fold: int = 0) -> Crossed:
    """The same six speakers, saying words that were not heard in training.

    Fold f starts at word 3 f, counted modulo ten: four words are trained on, the next two
    chosen by, the other four tested on. The speakers of the test are those of training:
    six are too few to have others. Recordings and words are new.

    Args:
      found: from `spoken_digits`.
      fold: 0 to 5.

    Returns:
      `Crossed`, speakers as classes and words as hands.

    Raises:
      DataError: no such fold.

    Example:
      >>> parts = speaker_splits(spoken_digits("data"))  # doctest: +SKIP
      >>> len(parts.test.data.names), len(parts.test.data.inputs)  # doctest: +SKIP
      (6, 1200)
    """
    turned = np.roll(WORDS, -3 * _fold(fold)).tolist()
    parts = turned[:4], turned[4:6], turned[6:]
    return Crossed(*(by_speaker(select(found, words=words)) for words in parts))


def _fold(fold: int) -> int:
    if not 0 <= fold < FOLDS:
        raise DataError(f"fold: got {fold}, wants 0 to {FOLDS - 1}")
    return fold


def _list(source: Path) -> list[tuple[int, str, int, str]]:
    """Word, speaker, take and member of each recording, in this order."""
    if source.is_dir():
        members = [path.name for path in source.iterdir()]
    else:
        members = names_in(source, "spoken digits", most=MAX_BYTES)
    found = []
    for member in members:
        if match := _NAME.fullmatch(member.split("/")[-1]):
            found.append((int(match[1]), match[2], int(match[3]), member))
    wanted = {
        (w, s, t) for w in range(len(WORDS)) for s in SPEAKERS for t in range(TAKES)
    }
    absent = sorted(wanted - {row[:3] for row in found})
    if absent or len(found) != len(wanted):
        lacks = f", lacks {'_'.join(map(str, absent[0]))}.wav" if absent else ""
        raise DataError(
            f"spoken digits: {source} has {len(found)} recordings{lacks}, wants "
            f"{len(wanted)} (they are at {WHERE})"
        )
    return sorted(found, key=lambda row: (row[0], SPEAKERS.index(row[1]), row[2]))


def _open(source: Path, listed) -> Iterator[tuple[str, Path | bytes]]:
    """Yields a name for errors, and the path or the bytes, of each recording."""
    if source.is_dir():
        for *_, member in listed:
            yield str(source / member), source / member
        return
    with zipfile.ZipFile(source) as archive:
        for *_, member in listed:
            try:
                content = archive.read(member)
            except ZIP_ERRORS as error:
                raise damaged(source, "spoken digits", error) from None
            yield f"{source}:{member}", content
