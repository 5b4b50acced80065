"""`jaxmeta adapt`: someone's own images, classified by a few examples of each class."""

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
from jaxmeta.data.arrays import unit_range
from jaxmeta.runs import folder, keys
from jaxmeta.runs.build import METHODS, build, make_tester
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.evaluate import load_snapshot
from jaxmeta.runs.folder import RunFolder
from jaxmeta.runs.recipes import Recipe
from jaxmeta.runs.sources import blank_tasks
from jaxmeta.runs.train import chosen

SUFFIXES = (".png", ".jpg", ".jpeg")
TOGETHER = 256  # query images predicted in one call, at most


class Prediction(NamedTuple):
    """What was said about one image.

    Attributes:
      path: the image.
      label: the likeliest class.
      probability: of that class.
      probabilities: of all classes, by name.
    """

    path: Path
    label: str
    probability: float
    probabilities: dict[str, float]


def adapt(
    path: Path,
    support: Path,
    query: Path,
    invert: bool | None = None,
    *,
    as_json: bool = False,
    say: Callable[[str], None] = print,
    note: Callable[[str], None] = lambda line: None,
) -> list[Prediction]:
    """Adapts a trained run to the classes in `support` and classifies `query`.

    Images go the way of the run's training images: grey or colour, the same size, the
    same scale. Runs on characters know light ink on dark ground; where `invert` is
    `None`, support images that are mostly light are taken for dark ink and turned, the
    query images with them.

    Args:
      path: the run folder.
      support: `<class>/*.png`.
      query: `*.png`, or `<class>/*.png`, which also gives an accuracy.
      invert: whether to turn dark on light into light on dark.
      as_json: `say` one JSON object with everything, and `note` nothing.
      say: takes the predictions, `path<TAB>class<TAB>probability`.
      note: takes what was done to the images, and the accuracy.

    Returns:
      The predictions, in the order of the paths.

    Raises:
      ConfigError: no run; no classes; images that cannot be read; a number of classes
        that the learner cannot take.
      RunError: a run without a whole checkpoint.
    """
    recipe = folder.read_config(path)
    job = build(recipe, blank_tasks(recipe))
    classes = _classes("support", support)
    _check_ways(recipe, len(classes))
    asked = _queries(query, classes)
    notes: list[str] = []
    x, y = _load(recipe, classes, asked, invert, notes.append)
    if not as_json:
        notes = [note(line) or line for line in notes]
    snapshot = load_snapshot(RunFolder(path), job)
    meta, _ = chosen(recipe, snapshot)
    _check_together(path, len(y), note)

    learner = make_tester(recipe, ways=len(classes), support=len(x))
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
        raise RunError(f"{path}: predictions are NaN, its parameters are no use")

    names = list(classes)
    found = [
        Prediction(
            file,
            names[int(row.argmax())],
            float(row.max()),
            dict(zip(names, map(float, row), strict=True)),
        )
        for (file, _), row in zip(asked, outputs, strict=True)
    ]
    truth = [name for _, name in asked]
    right = sum(p.label == t for p, t in zip(found, truth, strict=True))
    if as_json:
        accuracy = None if truth[0] is None else right / len(found)
        say(_as_json(path, names, found, accuracy, notes))
        return found
    for one in found:
        say(f"{one.path}\t{one.label}\t{one.probability:.4f}")
    if truth[0] is not None:
        note(f"accuracy {100 * right / len(found):.2f} % of {len(found)} images")
    return found


def _as_json(
    run: Path,
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
        "run": str(run),
        "classes": names,
        "notes": notes,
        "accuracy": accuracy,
        "predictions": predictions,
    }
    return json.dumps(value, indent=2)


def _classes(field: str, root: Path) -> dict[str, list[Path]]:
    """Class -> images."""
    try:
        return data.list_classes(root)
    except (DataError, OSError) as error:
        raise ConfigError(field, root, f"<class>/*.png in it: {error}") from error


def _check_ways(recipe: Recipe, ways: int) -> None:
    if ways < 2:
        raise ConfigError("support", f"{ways} class folder", "2 or more")
    if METHODS[recipe.learner].head and ways != recipe.ways:
        wants = f"{recipe.ways}: the head of {recipe.learner} is fixed by its training"
        raise ConfigError("support", f"{ways} class folders", wants)


def _check_together(path: Path, queries: int, note: Callable[[str], None]) -> None:
    """Says that queries are predicted together; refuses one that comes alone."""
    try:
        result = json.loads(RunFolder(path).result.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # a run that has not come to its end has no result
        return
    if not (isinstance(result, dict) and result.get("transductive")):
        return
    why = "this run normalises by the statistics of all query images together"
    if queries == 1:
        wants = f"several, of all classes, or a run of --norm batch_running: {why}"
        raise ConfigError("query", "1 image", wants)
    note(f"transductive: {why}; a prediction changes with the company it is in")


def _queries(
    root: Path, classes: dict[str, list[Path]]
) -> list[tuple[Path, str | None]]:
    """The images to classify, with their class where a folder tells it."""
    if not root.is_dir():
        raise ConfigError("query", f"{root}, which is no folder", "a folder of images")
    flat = sorted(
        p
        for p in root.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")
    )
    if flat:
        return [(p, None) for p in flat]
    if not any(p.is_dir() for p in root.iterdir()):
        raise ConfigError("query", f"{root} without an image", "*.png or <class>/*.png")
    labelled = _classes("query", root)
    for name in labelled:
        if name not in classes:
            wants = f"the classes of support: {', '.join(classes)}"
            raise ConfigError("query", f"class {name!r}", wants)
    return [(p, name) for name, paths in labelled.items() for p in paths]


def _load(
    recipe: Recipe,
    classes: dict[str, list[Path]],
    asked: list[tuple[Path, str | None]],
    invert: bool | None,
    note: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Support and query images as the run's network knows them."""
    examples = [p for paths in classes.values() for p in paths]
    x = _read("support", recipe, examples)
    y = _read("query", recipe, [p for p, _ in asked])
    if invert is None:
        ink = recipe.dataset in ("glyphs", "omniglot")  # light ink on dark ground
        invert = bool(x.mean() > 127.5) if ink else recipe.invert
        why = "judged by the support" if ink else "as in training"
    else:
        why = "as asked"
    kind = "colour" if recipe.mode == "RGB" else "grey"
    turned = "turned to light on dark" if invert else "not inverted"
    note(
        f"{len(classes)} classes, {len(x)} support and {len(y)} query images, "
        f"{recipe.size}x{recipe.size} {kind}, {turned} ({why})"
    )
    for field, paths in (("support", examples), ("query", [p for p, _ in asked])):
        note(f"{field} images: {', '.join(data.survey(paths))}")
    x, y = (255 - a if invert else a for a in (x, y))
    return unit_range(x), unit_range(y)


def _read(field: str, recipe: Recipe, paths: list[Path]) -> np.ndarray:
    try:
        return data.load_images(paths, size=recipe.size, mode=recipe.mode)
    except (DataError, OSError) as error:
        raise ConfigError(
            field, "an unusable image", f"PNG or JPEG: {error}"
        ) from error
