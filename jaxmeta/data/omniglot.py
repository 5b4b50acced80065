"""Omniglot: 1,623 characters of 50 alphabets, drawn by 20 people each.

Lake, Salakhutdinov, Tenenbaum 2015, https://doi.org/10.1126/science.aab3050. The
images are at https://github.com/brendenlake/omniglot, in the folder `python`.
"""

import hashlib
import json
import os
import re
import zipfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Literal

from jaxmeta.data.arrays import Dataset, from_counts, take_classes
from jaxmeta.data.cache import Cache, cached
from jaxmeta.data.errors import DataError
from jaxmeta.data.images import check_size, decode_all
from jaxmeta.data.splitting import Splits, make_splits
from jaxmeta.data.zipped import ZIP_ERRORS, damaged, names_in

DRAWINGS = 20
MAX_BYTES = 2**20  # of one drawing, unpacked; real ones have a few hundred
VERSION = 1  # of the way from files to arrays; a new one makes old caches useless


def omniglot(
    root: str | os.PathLike[str],
    size: int = 28,
    *,
    split: Literal["vinyals", "official"] = "vinyals",
    trim: bool = False,
    cache: Cache = True,
) -> Splits:
    """Reads Omniglot from its two zip files, or from the folders they unpack to.

    Drawings are 105 x 105 in black on white. They are made grey, resized by a Lanczos
    filter and inverted, so that ink is 255 (1 once a task has divided by 255).

    Classes are characters, named like `Angelic/character01`, 20 drawings each. The
    splits, in characters for train / val / test:

    - "vinyals", 1028 / 172 / 423: the split of nearly every few-shot paper. Training
      there counts each character in its four rotations as four classes; see
      `few_shot(..., rotations=True)`.
    - "official", 792 / 172 / 659: test is the official evaluation set. The official
      background set of 964 has no part to choose by; val is five alphabets of it
      (Armenian, Bengali, Early Aramaic, Hebrew, Mkhedruli: the same as in "vinyals").
      `merge(splits.train, splits.val)` is the whole background set.

    Args:
      root: a folder with `images_background.zip` and `images_evaluation.zip`, or with
        `images_background/` and `images_evaluation/`.
      size: height and width of the images.
      split: which characters are for training.
      trim: cut every drawing to the square around its ink before it is resized: people
        draw a character where and as large as they like.
      cache: where the decoded images are kept: a folder; True for `jaxmeta` in the
        user's cache folder; False for nowhere.

    Returns:
      `Splits` with inputs uint8 `[n, size, size, 1]`.

    Raises:
      DataError: a file is missing or damaged, or is not Omniglot.

    References:
      Vinyals et al. 2016, https://arxiv.org/abs/1606.04080.
      Snell, Swersky, Zemel 2017, https://arxiv.org/abs/1703.05175: the lists.

    Example:
      >>> splits = omniglot("data/omniglot")  # doctest: +SKIP
      >>> [len(part.names) for part in splits]  # doctest: +SKIP
      [1028, 172, 423]
    """
    if split not in ("vinyals", "official"):
        raise DataError(f"split: got {split!r}, wants 'vinyals' or 'official'")
    check_size(size)
    characters = facts()["characters"]
    sources = {part: _find(Path(root), part) for part in characters}
    keys = [_fingerprint(source) for source in sources.values()]
    how = "cut to the ink, lanczos" if trim else "lanczos"
    key = json.dumps(["omniglot", VERSION, how, size, keys])
    data = cached(
        "omniglot", key, lambda: _read(sources, characters, size, trim), cache
    )
    chosen = class_lists(split)
    return make_splits(*(take_classes(data, chosen[name]) for name in Splits._fields))


def facts() -> dict:
    """How many characters each alphabet has, and the ranges of the Vinyals split."""
    return json.loads((files("jaxmeta.data") / "omniglot.json").read_text())


def class_lists(split: str) -> dict[str, list[str]]:
    """Returns the names of the classes of `train`, `val` and `test`, sorted."""
    table = facts()
    background, evaluation = table["characters"].values()

    def names(ranges: dict[str, list[int]]) -> list[str]:
        return [_name(a, i) for a, (b, e) in ranges.items() for i in range(b, e + 1)]

    everything = names({a: [1, n] for a, n in {**background, **evaluation}.items()})
    val = names(table["vinyals"]["val"])
    if split == "vinyals":
        test = names(table["vinyals"]["test"])
    else:
        test = names({a: [1, n] for a, n in evaluation.items()})
    train = set(everything) - set(val) - set(test)
    return {"train": sorted(train), "val": sorted(val), "test": sorted(test)}


def _name(alphabet: str, number: int) -> str:
    return f"{alphabet}/character{number:02d}"


def _find(root: Path, part: str) -> Path:
    """The zip file or else the folder of one part."""
    for path in (root / f"{part}.zip", root / part):
        if path.is_file() if path.suffix else path.is_dir():
            return path
    raise DataError(
        f"omniglot: {root} has neither {part}.zip nor {part}/, wants one of them "
        "(they are at https://github.com/brendenlake/omniglot/tree/master/python)"
    )


def _fingerprint(source: Path) -> str:
    """What changes if the files do: a zip's SHA-256, or each file's size and time."""
    digest = hashlib.sha256()
    if source.is_file():
        digest.update(source.read_bytes())
    else:
        for path in sorted(source.glob("*/*/*.png")):
            stat = path.stat()
            line = f"{path.relative_to(source)} {stat.st_size} {stat.st_mtime_ns}\n"
            digest.update(line.encode())
    return digest.hexdigest()


def _read(sources: dict[str, Path], characters: dict, size: int, trim: bool) -> Dataset:
    """Decodes every drawing, after a check that all are there."""
    names, drawings = [], []
    for part, source in sources.items():
        listed = _list(source, part)
        wanted = [
            _name(a, i + 1) for a, n in characters[part].items() for i in range(n)
        ]
        for name in sorted(set(wanted) | set(listed)):
            got, want = len(listed.get(name, ())), DRAWINGS * (name in wanted)
            if got != want:
                raise DataError(
                    f"omniglot: {source} has {got} drawings of {name}, wants {want}; "
                    f"it has {len(listed)} characters, wants {len(wanted)}"
                )
        names += wanted
        drawings += [(source, member) for name in wanted for member in listed[name]]
    inputs = decode_all(
        _open(drawings),
        count=len(drawings),
        size=size,
        mode="L",
        invert=True,
        trim=trim,
        formats=("PNG",),
    )
    return from_counts(inputs, [DRAWINGS] * len(names), tuple(names))


def _list(source: Path, part: str) -> dict[str, list[str]]:
    """Character -> sorted paths of its drawings inside the zip file or the folder."""
    if source.is_dir():
        members = [
            p.relative_to(source.parent).as_posix() for p in source.rglob("*.png")
        ]
    else:
        members = names_in(source, "omniglot", most=MAX_BYTES)
    pattern = re.compile(rf"{part}/([^/]+/character\d\d)/[^/.][^/]*\.png")
    listed: dict[str, list[str]] = {}
    for member in sorted(members):
        if match := pattern.fullmatch(member):
            listed.setdefault(match[1], []).append(member)
    return listed


def _open(drawings: list[tuple[Path, str]]) -> Iterator[tuple[str, Path | bytes]]:
    """Yields a name for errors, and the path or the bytes, of each drawing."""
    archives: dict[Path, zipfile.ZipFile] = {}
    try:
        for source, member in drawings:
            if source.is_dir():
                yield member, source.parent / member
                continue
            try:
                if source not in archives:
                    archives[source] = zipfile.ZipFile(source)
                content = archives[source].read(member)
            except ZIP_ERRORS as error:
                raise damaged(source, "omniglot", error) from None
            yield f"{source}:{member}", content
    finally:
        for archive in archives.values():
            archive.close()
