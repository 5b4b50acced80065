"""Someone's own photographs by a trained network from a file: no training at all."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxmeta import data
from jaxmeta.core import Array, Key, Model
from jaxmeta.data import DataError
from jaxmeta.data.cache import Cache
from jaxmeta.data.photographs import Progress
from jaxmeta.functional import augment
from jaxmeta.report.adapted import Adapted, write_adapted
from jaxmeta.runs import heads
from jaxmeta.runs.adapt import Prediction, as_json_text, predictions
from jaxmeta.runs.backbone import Backbone
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.files import write_atomic
from jaxmeta.runs.given import asked_in, classes_in

BATCH = 16  # pictures at a time: one program, whatever their number
Say = Callable[[str], None]


def adapt_photographs(
    backbone: Backbone,
    support: str | Path,
    query: str | Path,
    *,
    head: str = "auto",
    views: int = 1,
    skip_damaged: bool = False,
    out: str | Path | None = None,
    cache: Cache = True,
    as_text: bool = True,
    say: Say = print,
    note: Say = lambda line: None,
    progress: Callable[[str], Progress | None] = lambda what: None,
) -> list[Prediction]:
    """Classifies photographs by a few examples of each class.

    Every picture passes the network once; a head learns from the features of the
    support. Features are centred by the mean of the support and brought to length 1.
    "auto" is the head that is most often right of a support picture when that one is
    left out; so are its probabilities scaled.

    Args:
      backbone: the network.
      support: a folder with a folder a class.
      query: a folder of pictures, or of folders named like the classes, which also gives
        an accuracy.
      head: of `jaxmeta.runs.heads`, or "auto".
      views: of each support picture: itself and `views - 1` that are mirrored and moved.
      skip_damaged: leave out pictures that cannot be decoded, each named by `note`.
      out: a folder for report.html and result.json.
      cache: as of `jaxmeta.data.embed`.
      as_text: `say` a line each picture; otherwise one JSON object, and `note` nothing.
      say: takes the predictions.
      note: takes what was done, and the accuracy.
      progress: called with what is going on; what it returns is told how far it is.

    Returns:
      The predictions, in the order of the paths.

    Raises:
      ConfigError: folders or pictures that cannot be used; an unknown head.
    """
    known = heads.heads()
    if head != "auto" and head not in known:
        raise ConfigError("head", repr(head), f"auto or one of {', '.join(known)}")
    if views < 1:
        raise ConfigError("views", views, "an integer >= 1")
    classes = classes_in("support", Path(support), data.IMAGES)
    names = list(classes)
    if len(names) < 2:
        raise ConfigError("support", f"{len(names)} class folder", "2 or more")
    asked = asked_in(data.IMAGES, Path(query), classes)
    notes: list[str] = []

    def tell(line: str) -> None:
        notes.append(line)
        if as_text:
            note(line)

    start = time.perf_counter()
    files = [path for paths in classes.values() for path in paths]
    labels = np.repeat(np.arange(len(names)), [len(p) for p in classes.values()])
    read = partial(_read, backbone.model, skip=tell if skip_damaged else None)
    x, kept = read("support", files, progress=progress("reading the support"))
    labels = labels[kept]
    for i, name in enumerate(names):
        if not (labels == i).any():
            wants = "one that can be decoded"
            raise ConfigError("support", f"no picture of class {name!r}", wants)
    paths = [p for p, _ in asked]
    y, kept = read("query", paths, progress=progress("reading the queries"))
    asked = [asked[i] for i in kept]
    if not asked:
        raise ConfigError("query", "no picture", "one that can be decoded")
    decoded = time.perf_counter()
    size = x.shape[1]
    tell(
        f"{len(names)} classes, {len(x)} support and {len(y)} query pictures, {size}x{size}"
    )
    u, v = _features(backbone, x, y, views, cache, progress("passing the network"))
    embedded = time.perf_counter()
    u, v = heads.footing(u, v)
    chosen, found = _choose(known, head, u, labels, len(names), tell)
    best = found[chosen]
    sure = heads.predicted(known[chosen], u, labels, len(names), v, best.temperature)
    done = time.perf_counter()
    seconds = {
        "reading": decoded - start, "network": embedded - decoded, "head": done - embedded,
    }  # fmt: skip
    tell("seconds: " + ", ".join(f"{what} {t:.1f}" for what, t in seconds.items()))

    said, accuracy = predictions(names, asked, sure)
    tried = {name: one.accuracy for name, one in found.items()}
    facts = {
        "backbone": backbone.name, "head": chosen, "leave_one_out": tried,
        "left_out": best.rows, "temperature": best.temperature,
        "seconds": {k: round(t, 2) for k, t in seconds.items()},
    }  # fmt: skip
    if accuracy is not None:
        tell(f"accuracy {100 * accuracy:.2f} % of {len(said)} pictures")
    whole = as_json_text(facts, names, said, accuracy, notes)
    if out is not None:
        true = (
            None if accuracy is None else np.array([names.index(t) for _, t in asked])
        )
        page = Adapted(
            names, x, labels, y, [str(p) for p, _ in asked], true, sure, u[:, 0], v,
            chosen, tried, best.rows, facts,
        )  # fmt: skip
        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / "result.json", whole + "\n")
        write_adapted(folder / "report.html", page)
        tell(f"{folder / 'report.html'}: written")
    if not as_text:
        say(whole)
        return said
    for one in said:
        say(f"{one.path}\t{one.label}\t{one.probability:.4f}")
    return said


def embed_photographs(
    backbone: Backbone,
    root: str | Path,
    out: str | Path,
    *,
    views: int = 1,
    skip_damaged: bool = False,
    cache: Cache = True,
    note: Say = lambda line: None,
    progress: Callable[[str], Progress | None] = lambda what: None,
) -> Path:
    """Writes the features of a folder of photographs, for `--dataset npz` and NumPy.

    Args:
      backbone: the network.
      root: a folder with a folder a class.
      out: FILE.npz, with inputs `[n, d]` (`[n, views, d]` of several), labels `[n]` and
        names.
      views: as of `adapt_photographs`.
      skip_damaged: likewise.
      cache: likewise.
      note: likewise.
      progress: likewise.

    Returns:
      The file.

    Raises:
      ConfigError: a folder or pictures that cannot be used; another kind of file.
    """
    out = Path(out)
    if out.suffix != ".npz":
        raise ConfigError("out", out, "a file that ends in .npz")
    if views < 1:
        raise ConfigError("views", views, "an integer >= 1")
    wanted = backbone.model.pictures
    assert wanted is not None  # of every backbone
    try:
        found = data.photographs(
            root,
            wanted,
            damaged=note if skip_damaged else None,
            progress=progress("reading"),
        )
    except (DataError, OSError) as error:
        raise ConfigError("data", root, f"<class>/*.jpg in it: {error}") from error
    made = _embed(backbone, found, views, cache, progress("passing the network"))
    labels = np.repeat(np.arange(len(made.counts)), made.counts)
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            np.savez(
                file, inputs=made.inputs, labels=labels, names=np.array(made.names)
            )
        os.replace(part, out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ConfigError("out", out, f"a file that can be written: {error}") from error
    note(f"{out}: {len(labels)} pictures of {len(made.names)} classes, "
         f"{made.inputs.shape[-1]} features each")  # fmt: skip
    return out


def _read(
    model: Model, field: str, files: Sequence[Path], *, skip: Say | None, progress
) -> tuple[np.ndarray, np.ndarray]:
    assert model.pictures is not None  # of every backbone
    try:
        return data.load_photographs(
            files, model.pictures, damaged=skip, progress=progress
        )
    except (DataError, OSError) as error:
        wants = "pictures that can be decoded; --skip-damaged leaves them out"
        raise ConfigError(field, error, wants) from error


def _features(backbone, x, y, views, cache, progress) -> tuple[np.ndarray, np.ndarray]:
    """Of the support `[n, v, d]`, and of the queries `[m, d]`."""
    if views == 1:  # one pass, one program
        both = data.from_counts(
            np.concatenate([x, y]), [len(x), len(y)], ("support", "query")
        )
        found = _embed(backbone, both, 1, cache, progress).inputs
        return found[: len(x), None], found[len(x) :]
    sets = (data.from_counts(a, [len(a)], ("all",)) for a in (x, y))
    u, v = (
        _embed(backbone, each, k, cache, progress).inputs
        for each, k in zip(sets, (views, 1), strict=True)
    )
    return u, v


def _embed(backbone, found, views, cache, progress) -> data.Dataset:
    return data.embed(
        backbone.model, backbone.meta, found, views=views, augment=another, batch=BATCH,
        cache=cache, progress=progress,
    )  # fmt: skip


def another(key: Key, image: Array) -> Array:
    """The picture, mirrored or not, and moved by up to an eighth of its side."""
    flip_key, crop_key = jax.random.split(key)
    moved = augment.crop(crop_key, image, padding=image.shape[0] // 8)
    return augment.flip(flip_key, moved)


def _choose(known, head, u, labels, ways, tell) -> tuple[str, dict[str, heads.Tried]]:
    """The head, and what was found by leaving one out: of it, or of all."""
    names = list(known) if head == "auto" else [head]
    found = {name: heads.tried(known[name], u, labels, ways) for name in names}
    if found[names[0]].accuracy is None:
        if head == "auto":
            tell(
                "head protonet: with one picture a class none can be left out to choose"
            )
        return names[0], found
    right = {name: tried.accuracy or 0.0 for name, tried in found.items()}
    best = max(names, key=lambda name: right[name])
    said = ", ".join(f"{n} {100 * x:.1f} %" for n, x in right.items())
    tell(f"head {best}: leaving out one of {found[best].rows} support pictures, {said}")
    return best, found
