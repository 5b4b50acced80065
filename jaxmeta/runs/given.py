"""What `adapt` is given: examples of some classes, and what is asked about."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxmeta import data
from jaxmeta.core import Batch
from jaxmeta.data import DataError
from jaxmeta.data.arrays import unit_range
from jaxmeta.data.npz import MissingArray, check_finite, npz_arrays
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.experiment import tested
from jaxmeta.runs.run import Run


class Given(NamedTuple):
    """Examples, read.

    Attributes:
      names: the classes.
      support: the examples of them, class by class.
      query: inputs of what is asked about.
      asked: where each of those is from, and its class where that is known.
      notes: lines about what was done to them.
      strangers: how many of the last queries are known to be of none of the classes.
    """

    names: list[str]
    support: Batch
    query: np.ndarray
    asked: list[tuple[Path, str | None]]
    notes: list[str]
    strangers: int = 0


def of_arrays(
    run: Run, support: Path, query: Path, strangers: Path | None = None
) -> Given:
    """Arrays in two .npz, as they were trained on: inputs, labels, maybe names.

    Raises:
      ConfigError: files that cannot be read, or inputs of another shape.
    """
    found = _arrays("support", support, ("inputs", "labels"), ("names",))
    wanted = _arrays("query", query, ("inputs",), ("labels", "names"))
    known = _grouped("support", support, found)
    x, y, z = known.inputs, wanted["inputs"], wanted["inputs"][:0]
    if strangers is not None:
        z = _arrays("strangers", strangers, ("inputs",), ())["inputs"]
    shape = _trained_on(run)
    for field, inputs in (("support", x), ("query", y), ("strangers", z)):
        if shape is not None and inputs.shape[1:] != shape:
            wants = f"{list(shape)}, as in training"
            raise ConfigError(
                field, f"inputs [n, ...] of {list(inputs.shape[1:])}", wants
            )
    names = list(known.names)
    _check_ways(run, len(names))
    rows = [Path(f"{query}[{i}]") for i in range(len(y))]
    truth: list[str | None] = [None] * len(y)
    if "labels" in wanted:
        _grouped("query", query, wanted)  # labels that are no labels are refused
        said = wanted.get("names", found.get("names"))
        truth = [str(k if said is None else said[k]) for k in wanted["labels"]]
        _check_known(names, truth)
    labels = np.repeat(np.arange(len(names)), known.counts)
    seen = Batch.of_labels(unit_range(x), labels, len(names))
    note = f"{len(names)} classes, {len(x)} support and {len(y)} query rows"
    asked = list(zip(rows, truth, strict=True))
    if strangers is not None:
        asked += [(Path(f"{strangers}[{i}]"), None) for i in range(len(z))]
        y, note = np.concatenate([y, z]), f"{note}, {len(z)} strangers"
    return Given(names, seen, unit_range(y), asked, [note], len(z))


def _arrays(field: str, file: Path, wanted, also) -> dict[str, np.ndarray]:
    try:
        found = npz_arrays(file, wanted, also)
        check_finite(found["inputs"])
    except MissingArray as error:
        raise ConfigError(field, f"{file} without {error.name}", str(error)) from error
    except (DataError, OSError) as error:
        raise ConfigError(field, file, f"a readable file: {error}") from error
    if found["inputs"].ndim == 0 or not len(found["inputs"]):
        raise ConfigError(field, f"{file} without an example", "inputs [n, ...]")
    return found


def _grouped(field: str, file: Path, found: dict[str, np.ndarray]) -> data.Dataset:
    names = [str(n) for n in found["names"]] if "names" in found else None
    try:
        return data.from_labels(found["inputs"], found["labels"], names)
    except DataError as error:
        raise ConfigError(field, file, f"labels [n]: {error}") from error


def _trained_on(run: Run) -> tuple[int, ...] | None:
    """The shape of an example, where tasks say it."""
    task = tested(run.experiment.tasks)
    if not callable(task):
        return None
    inputs = jax.eval_shape(task, jax.random.key(0)).support.inputs
    return inputs.shape[1:] if hasattr(inputs, "shape") else None


def of_files(
    run: Run,
    support: Path,
    query: Path,
    invert: bool | None,
    strangers: Path | None = None,
) -> Given:
    """Files in folders, by the reader of the experiment.

    Raises:
      ConfigError: no classes, files that cannot be read, an experiment without a reader.
    """
    reader = run.experiment.reader
    if reader is None:
        wants = (
            "a run whose experiment has a reader: how files become inputs (one of images "
            "has; arrays are given as two files, --support A.npz --query B.npz)"
        )
        raise ConfigError("run", run.path, wants)
    classes = classes_in("support", support, reader.files)
    _check_ways(run, len(classes))
    asked = asked_in(reader.files, query, classes)
    strange = strangers_in(reader.files, strangers, classes)
    asked += [(path, None) for path in strange]
    examples = [p for paths in classes.values() for p in paths]
    try:
        read = reader.read(examples, [p for p, _ in asked], invert)
    except (DataError, OSError) as error:
        raise ConfigError("support or query", "an unusable file", str(error)) from error
    labels = np.repeat(np.arange(len(classes)), [len(p) for p in classes.values()])
    seen = Batch.of_labels(read.support, labels, len(classes))
    counts = f"{len(read.support)} support and {len(asked) - len(strange)} query files"
    if strange:
        counts += f", {len(strange)} strangers"
    notes = [f"{len(classes)} classes, {counts}", *read.notes]
    return Given(list(classes), seen, read.query, asked, notes, len(strange))


def classes_in(field: str, root: Path, files: data.Files) -> dict[str, list[Path]]:
    """Class -> files."""
    try:
        return data.list_classes(root, files=files)
    except (DataError, OSError) as error:
        wants = f"<class>/*{files.suffixes[0]} in it: {error}"
        raise ConfigError(field, root, wants) from error


def asked_in(
    files: data.Files, root: Path, classes: dict[str, list[Path]]
) -> list[tuple[Path, str | None]]:
    """The files to classify, with their class where a folder tells it."""
    found = _files_in("query", files, root)
    _check_known(list(classes), [name for _, name in found if name is not None])
    return found


def strangers_in(
    files: data.Files, root: Path | None, classes: dict[str, list[Path]]
) -> list[Path]:
    """Files that are known to be of none of the classes; of no folder, none."""
    if root is None:
        return []
    found = _files_in("strangers", files, root)
    for _, name in found:
        if name in classes:
            wants = "other classes than those of support"
            raise ConfigError("strangers", f"class {name!r}", wants)
    return [path for path, _ in found]


def _files_in(
    field: str, files: data.Files, root: Path
) -> list[tuple[Path, str | None]]:
    """The files of a folder, or of its folders, with the names of these."""
    if not root.is_dir():
        raise ConfigError(field, f"{root}, which is no folder", "a folder of files")
    flat = sorted(
        p
        for p in root.iterdir()
        if p.suffix.lower() in files.suffixes and not p.name.startswith(".")
    )
    if flat:
        return [(p, None) for p in flat]
    if not any(p.is_dir() for p in root.iterdir()):
        kind = f"*{files.suffixes[0]}"
        raise ConfigError(field, f"{root} without a file", f"{kind} or <class>/{kind}")
    labelled = classes_in(field, root, files)
    return [(p, name) for name, paths in labelled.items() for p in paths]


def _check_ways(run: Run, ways: int) -> None:
    """Refuses one class, and another number than training's where a head fixes it."""
    trained = run.experiment.facts.get("ways")
    if ways < 2:
        raise ConfigError("support", f"{ways} class", "2 or more")
    if run.experiment.head and ways != trained:
        wants = f"{trained}: the head of this learner is fixed by its training"
        raise ConfigError("support", f"{ways} classes", wants)


def _check_known(names: Sequence[str], truth: Sequence[str | None]) -> None:
    for name in truth:
        if name not in names:
            wants = f"the classes of support: {', '.join(names)}"
            raise ConfigError("query", f"class {name!r}", wants)
