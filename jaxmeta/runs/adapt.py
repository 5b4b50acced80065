"""Someone's own files or arrays, classified by a few examples of each class."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxmeta.criteria import as_criterion
from jaxmeta.runs import keys
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.given import of_arrays, of_files
from jaxmeta.runs.run import Run

TOGETHER = 256  # queries predicted in one call, at most


class Prediction(NamedTuple):
    """What was said about one file.

    Attributes:
      path: the file; of an array FILE.npz[row].
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
    images, grey or colour, the same size, the same scale; for sounds, the same rate and
    spectrogram. Arrays in .npz are taken as they are.

    Args:
      run: from `load`; the data it was trained on are not needed.
      support: a folder with `<class>/*.png` or `*.wav`; or an .npz with inputs, labels,
        maybe names.
      query: a folder with such files, or `<class>/` of them, which also gives an accuracy; or an
        .npz with inputs, which gives one if it has labels.
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
    support, query = Path(support), Path(query)
    if ".npz" in (support.suffix, query.suffix):
        given = of_arrays(run, support, query)
    else:
        given = of_files(run, support, query, invert)
    notes = given.notes
    if not as_json:
        notes = [note(line) or line for line in notes]
    _check_together(run, len(given.query), note)

    learner, meta = run.learner, run.meta
    seen = given.support
    fast = jax.jit(learner.adapt)(meta, seen, keys.drawing())
    # Nearly equal parts: statistics over a batch, where there are any, are of many.
    parts = np.array_split(given.query, -(-len(given.query) // TOGETHER))

    @jax.jit
    def predict(part):
        outputs = learner.predict(meta, fast, part)
        return jax.nn.softmax(as_criterion(learner.criterion).prepare(outputs, seen))

    outputs = np.concatenate([np.asarray(predict(part)) for part in parts])
    if np.isnan(outputs).any():
        raise RunError(f"{run.path}: predictions are NaN, its parameters are no use")

    names = given.names
    found, accuracy = predictions(names, given.asked, outputs)
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


def _check_together(run: Run, queries: int, note: Callable[[str], None]) -> None:
    """Says that queries are predicted together; refuses one that comes alone."""
    result = run.result
    if not (isinstance(result, dict) and result.get("transductive")):
        return
    why = "this run normalises by the statistics of all query examples together"
    if queries == 1:
        wants = f"several, of all classes, or a run of --norm batch_running: {why}"
        raise ConfigError("query", "1 example", wants)
    note(f"transductive: {why}; a prediction changes with the company it is in")
