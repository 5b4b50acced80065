"""Someone's own files, classified by a few examples of each class."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxmeta import data
from jaxmeta.core import Batch
from jaxmeta.criteria import as_criterion
from jaxmeta.data import DataError
from jaxmeta.runs import keys
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.run import Run

TOGETHER = 256  # queries predicted in one call, at most


class Prediction(NamedTuple):
    """What was said about one file.

    Attributes:
      path: the file.
      label: the likeliest class.
      probability: of that class.
      probabilities: of all classes, by name.
    """

    path: Path
    label: str
    probability: float
    probabilities: dict[str, float]


def adapt(
    run: Run,
    support: str | Path,
    query: str | Path,
    invert: bool | None = None,
    *,
    as_json: bool = False,
    say: Callable[[str], None] = print,
    note: Callable[[str], None] = lambda line: None,
) -> list[Prediction]:
    """Adapts a trained run to the classes in `support` and classifies `query`.

    Files go the way of the run's training examples, by the experiment's `reader`: for
    images, grey or colour, the same size, the same scale.

    Args:
      run: from `load`; the data it was trained on are not needed.
      support: a folder with `<class>/*.png`.
      query: a folder with `*.png`, or `<class>/*.png`, which also gives an accuracy.
      invert: whether to turn dark on light into light on dark; `None`: as in training,
        or by looking, where the network knows light ink on dark ground.
      as_json: `say` one JSON object with everything, and `note` nothing.
      say: takes the predictions, `path<TAB>class<TAB>probability`.
      note: takes what was done to the files, and the accuracy.

    Returns:
      The predictions, in the order of the paths.

    Raises:
      ConfigError: no classes; files that cannot be read; a number of classes that the
        learner cannot take; an experiment without a reader.
      RunError: a run without a whole checkpoint.
    """
    reader = run.experiment.reader
    if reader is None:
        wants = (
            "a run whose experiment has a reader: how files become inputs (one of images "
            "has; with arrays, in Python: run.learner.adapt, run.learner.predict)"
        )
        raise ConfigError("run", run.path, wants)
    classes = classes_in("support", Path(support))
    _check_ways(run, classes)
    asked = asked_in(reader.suffixes, Path(query), classes)
    notes: list[str] = []
    examples = [p for paths in classes.values() for p in paths]
    try:
        read = reader.read(examples, [p for p, _ in asked], invert)
    except (DataError, OSError) as error:
        raise ConfigError("support or query", "an unusable file", str(error)) from error
    x, y = read.support, read.query
    notes.append(f"{len(classes)} classes, {len(x)} support and {len(y)} query files")
    notes += read.notes
    if not as_json:
        notes = [note(line) or line for line in notes]
    _check_together(run, len(y), note)

    learner, meta = run.learner, run.meta
    labels = np.repeat(np.arange(len(classes)), [len(p) for p in classes.values()])
    seen = Batch.of_labels(x, labels, len(classes))
    fast = jax.jit(learner.adapt)(meta, seen, keys.drawing())
    # Nearly equal parts: statistics over a batch, where there are any, are of many.
    parts = np.array_split(y, -(-len(y) // TOGETHER))

    @jax.jit
    def predict(part):
        outputs = learner.predict(meta, fast, part)
        return jax.nn.softmax(as_criterion(learner.criterion).prepare(outputs, seen))

    outputs = np.concatenate([np.asarray(predict(part)) for part in parts])
    if np.isnan(outputs).any():
        raise RunError(f"{run.path}: predictions are NaN, its parameters are no use")

    names = list(classes)
    found, accuracy = predictions(names, asked, outputs)
    if as_json:
        say(as_json_text({"run": str(run.path)}, names, found, accuracy, notes))
        return found
    for one in found:
        say(f"{one.path}\t{one.label}\t{one.probability:.4f}")
    if accuracy is not None:
        note(f"accuracy {100 * accuracy:.2f} % of {len(found)} files")
    return found


def predictions(
    names: list[str], asked: list[tuple[Path, str | None]], outputs: np.ndarray
) -> tuple[list[Prediction], float | None]:
    """Probabilities `[n, c]` as records, and the accuracy where the classes are known."""
    found = [
        Prediction(
            file,
            names[int(row.argmax())],
            float(row.max()),
            dict(zip(names, map(float, row), strict=True)),
        )
        for (file, _), row in zip(asked, outputs, strict=True)
    ]
    if asked[0][1] is None:
        return found, None
    right = [p.label == t for p, (_, t) in zip(found, asked, strict=True)]
    return found, float(np.mean(right))


def as_json_text(
    facts: dict[str, object],
    names: list[str],
    found: list[Prediction],
    accuracy: float | None,
    notes: list[str],
) -> str:
    """Everything that was found, in one object."""
    predictions = [
        {
            "path": str(one.path),
            "class": one.label,
            "probability": round(one.probability, 6),
            "probabilities": {k: round(p, 6) for k, p in one.probabilities.items()},
        }
        for one in found
    ]
    value = {
        **facts,
        "classes": names,
        "notes": notes,
        "accuracy": accuracy,
        "predictions": predictions,
    }
    return json.dumps(value, indent=2)


def classes_in(field: str, root: Path) -> dict[str, list[Path]]:
    """Class -> files."""
    try:
        return data.list_classes(root)
    except (DataError, OSError) as error:
        raise ConfigError(field, root, f"<class>/*.png in it: {error}") from error


def _check_ways(run: Run, classes: dict[str, list[Path]]) -> None:
    """Refuses one class, and another number than training's where a head fixes it."""
    ways, trained = len(classes), run.experiment.facts.get("ways")
    if ways < 2:
        raise ConfigError("support", f"{ways} class folder", "2 or more")
    if run.experiment.head and ways != trained:
        wants = f"{trained}: the head of this learner is fixed by its training"
        raise ConfigError("support", f"{ways} class folders", wants)


def _check_together(run: Run, queries: int, note: Callable[[str], None]) -> None:
    """Says that queries are predicted together; refuses one that comes alone."""
    result = run.result
    if not (isinstance(result, dict) and result.get("transductive")):
        return
    why = "this run normalises by the statistics of all query examples together"
    if queries == 1:
        wants = f"several, of all classes, or a run of --norm batch_running: {why}"
        raise ConfigError("query", "1 file", wants)
    note(f"transductive: {why}; a prediction changes with the company it is in")


def asked_in(
    suffixes: tuple[str, ...], root: Path, classes: dict[str, list[Path]]
) -> list[tuple[Path, str | None]]:
    """The files to classify, with their class where a folder tells it."""
    if not root.is_dir():
        raise ConfigError("query", f"{root}, which is no folder", "a folder of files")
    flat = sorted(
        p
        for p in root.iterdir()
        if p.suffix.lower() in suffixes and not p.name.startswith(".")
    )
    if flat:
        return [(p, None) for p in flat]
    if not any(p.is_dir() for p in root.iterdir()):
        raise ConfigError("query", f"{root} without a file", "*.png or <class>/*.png")
    labelled = classes_in("query", root)
    for name in labelled:
        if name not in classes:
            wants = f"the classes of support: {', '.join(classes)}"
            raise ConfigError("query", f"class {name!r}", wants)
    return [(p, name) for name, paths in labelled.items() for p in paths]
