"""mini-ImageNet, tiered-ImageNet and CUB: folders of images, or images and CSV lists."""

import csv
import hashlib
import json
import os
from pathlib import Path

from jaxmeta.data.arrays import from_counts
from jaxmeta.data.cache import Cache, cached
from jaxmeta.data.class_lists import published
from jaxmeta.data.errors import DataError
from jaxmeta.data.folders import list_classes
from jaxmeta.data.images import load_images
from jaxmeta.data.splitting import Splits, make_splits

Listing = dict[str, list[Path]]
VERSION = 1


def mini_imagenet(
    root: str | os.PathLike[str], size: int = 84, *, cache: Cache = True
) -> Splits:
    """Reads mini-ImageNet in the split of Ravi & Larochelle: 64 / 16 / 20 classes.

    Three layouts are understood: `train/<class>/*`, `val/`, `test/`; one folder of
    classes, `<wordnet id>/*`, split by the published lists; and `train.csv`, `val.csv`,
    `test.csv` of lines `filename,label` beside `images/`.

    Args:
      root: the folder.
      size: height and width of the images.
      cache: where the decoded images are kept: a folder; True for `jaxmeta` in the
        user's cache folder; False for nowhere.

    Returns:
      `Splits` with inputs uint8 `[n, size, size, 3]`.

    Raises:
      DataError: files are missing or broken, or the classes are not the published ones.

    References:
      Vinyals et al. 2016, https://arxiv.org/abs/1606.04080; the split: Ravi, Larochelle
      2017, https://openreview.net/forum?id=rJY0-Kcll.

    Example:
      >>> splits = mini_imagenet("data/mini-imagenet")  # doctest: +SKIP
      >>> [len(part.names) for part in splits]  # doctest: +SKIP
      [64, 16, 20]
    """
    root, lists = Path(root), published("mini_imagenet")
    found = _by_csv(root) or _by_folder(root)
    if found is None:
        whole = list_classes(root)
        found = {
            part: {name: whole.get(name, []) for name in names}
            for part, names in lists.items()
        }
    for part, names in lists.items():
        wrong = sorted({n for n, files in found[part].items() if files} ^ set(names))
        if wrong:
            raise DataError(
                f"mini_imagenet: {part} has {len(found[part])} classes, wants the "
                f"{len(names)} of Ravi & Larochelle; {wrong[0]!r} is in one only"
            )
    return _decode("mini-imagenet", found, size, cache)


def tiered_imagenet(
    root: str | os.PathLike[str], size: int = 84, *, cache: Cache = True
) -> Splits:
    """Reads tiered-ImageNet: 351 / 97 / 160 classes, split by what is above them.

    Args:
      root: a folder with `train/<class>/*`, `val/` and `test/`, or with `train.csv`,
        `val.csv` and `test.csv` beside `images/`.
      size: height and width of the images.
      cache: as in `mini_imagenet`.

    Returns:
      `Splits` with inputs uint8 `[n, size, size, 3]`; 779,165 images in the whole set,
      16 GB at 84 x 84.

    Raises:
      DataError: files are missing or broken, or the numbers of classes are others.

    References:
      Ren et al. 2018, https://arxiv.org/abs/1803.00676.

    Example:
      >>> splits = tiered_imagenet("data/tiered-imagenet")  # doctest: +SKIP
    """
    found = _by_csv(Path(root)) or _by_folder(Path(root))
    if found is None:
        raise DataError(
            f"tiered_imagenet: {root} has neither train/, val/, test/ nor train.csv, "
            "val.csv, test.csv, wants one of them"
        )
    sizes = [len(found[part]) for part in Splits._fields]
    if sizes != [351, 97, 160]:
        raise DataError(f"tiered_imagenet: got {sizes} classes, wants [351, 97, 160]")
    return _decode("tiered-imagenet", found, size, cache)


def cub(root: str | os.PathLike[str], size: int = 84, *, cache: Cache = True) -> Splits:
    """Reads CUB-200-2011, birds: 100 / 50 / 50 species.

    The split of Chen et al. 2019: of the classes in the order of their names, every
    second is for training, and the others are for validation and test by turns.

    Args:
      root: the folder with the 200 class folders (`001.Black_footed_Albatross`, ...),
        or one that has it as `images/` or `CUB_200_2011/images/`.
      size: height and width of the images, which are stretched, not cropped to the bird.
      cache: as in `mini_imagenet`.

    Returns:
      `Splits` with inputs uint8 `[n, size, size, 3]`.

    Raises:
      DataError: files are missing or broken, or there are not 200 classes.

    References:
      Wah et al. 2011, CNS-TR-2011-001; the split: Chen et al. 2019,
      https://arxiv.org/abs/1904.04232.

    Example:
      >>> splits = cub("data/CUB_200_2011")  # doctest: +SKIP
      >>> [len(part.names) for part in splits]  # doctest: +SKIP
      [100, 50, 50]
    """
    root = Path(root)
    places = (root / "CUB_200_2011" / "images", root / "images", root)
    whole = list_classes(next((p for p in places if p.is_dir()), root))
    if len(whole) != 200:
        raise DataError(f"cub: {root} has {len(whole)} classes, wants 200")
    turn = ("train", "val", "train", "test")
    found: dict[str, Listing] = {part: {} for part in Splits._fields}
    for i, (name, paths) in enumerate(whole.items()):
        found[turn[i % 4]][name] = paths
    return _decode("cub", found, size, cache)


def _by_folder(root: Path) -> dict[str, Listing] | None:
    """`<part>/<class>/*`, or `None` if there are no such folders."""
    if not all((root / part).is_dir() for part in Splits._fields):
        return None
    return {part: list_classes(root / part) for part in Splits._fields}


def _by_csv(root: Path) -> dict[str, Listing] | None:
    """`<part>.csv` and `images/`, or `None` if there are no such files."""
    lists = {part: root / f"{part}.csv" for part in Splits._fields}
    if not all(path.is_file() for path in lists.values()):
        return None
    return {part: _read_csv(path, root / "images") for part, path in lists.items()}


def _read_csv(path: Path, images: Path) -> Listing:
    """Lines `filename,label` under a header; classes and files in sorted order."""
    listing: Listing = {}
    with path.open(newline="", encoding="utf-8") as file:
        for line, row in enumerate(csv.reader(file), 1):
            if line == 1 and row == ["filename", "label"]:
                continue
            # a name is one file of that folder: no path leads out of it
            if len(row) != 2 or Path(row[0]).name != row[0]:
                raise DataError(f"{path}, line {line}: got {row}, wants filename,label")
            listing.setdefault(row[1], []).append(images / row[0])
    return {name: sorted(listing[name]) for name in sorted(listing)}


def _decode(name: str, found: dict[str, Listing], size: int, cache: Cache) -> Splits:
    """Reads the listed files, each split once."""

    def read(part: str):
        listing = found[part]
        paths = [path for files in listing.values() for path in files]
        images = load_images(paths, size=size, mode="RGB")
        return from_counts(images, [len(f) for f in listing.values()], (*listing,))

    parts = []
    for part in Splits._fields:
        key = json.dumps([name, part, VERSION, "lanczos", size, _stamp(found[part])])
        parts.append(cached(f"{name}-{part}", key, lambda part=part: read(part), cache))
    return make_splits(*parts)


def _stamp(listing: Listing) -> str:
    """What changes if the files do: their names, sizes and times."""
    digest = hashlib.sha256()
    for name, paths in listing.items():
        for path in paths:
            try:
                stat = path.stat()
            except OSError as error:
                raise DataError(
                    f"image {path}: {error.strerror}, class {name!r} lists it"
                ) from None
            line = f"{name} {path} {stat.st_size} {stat.st_mtime_ns}\n"
            digest.update(line.encode())
    return digest.hexdigest()
