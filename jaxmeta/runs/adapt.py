"""Someone's own files or arrays, classified by a few examples of each class."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxmeta import data
from jaxmeta.criteria import as_criterion
from jaxmeta.report.adapted import Adapted
from jaxmeta.report.pictures import as_pictures, one_range
from jaxmeta.report.seen import softmax
from jaxmeta.runs import keys
from jaxmeta.runs.adapted import rejected_of, true_classes, write_page
from jaxmeta.runs.answers import (
    Prediction,
    answers,
    as_json_text,
    check_names,
)
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.files import write_json
from jaxmeta.runs.folder import RunFolder
from jaxmeta.runs.given import of_arrays, of_files
from jaxmeta.runs.reject import EPISODES, ScoreOption, by_validation, told
from jaxmeta.runs.run import Run

TOGETHER = 256  # queries predicted in one call, at most


def adapt(
    run: Run,
    support: str | Path,
    query: str | Path,
    invert: bool | None = None,
    *,
    reject: bool = False,
    score: ScoreOption = "auto",
    strangers: str | Path | None = None,
    episodes: int = EPISODES,
    out: str | Path | None = None,
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
      reject: say "none of these" of queries that look like no class of the support. The
        threshold is that of the run's validation classes, so it wants a run opened with
        its data; it is kept in the run's result.json under "strangers".
      score: what is thresholded, see `functional.familiarity`; "auto": what tells
        strangers better in validation.
      strangers: like `query`, of things that are known to be none of the classes: how
        many of them are turned away is counted apart.
      episodes: of validation.
      out: a folder for report.html and result.json.
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
    other = None if strangers is None else Path(strangers)
    if other is not None and not reject:
        raise ConfigError("strangers", other, "--reject beside it")
    if ".npz" in (support.suffix, query.suffix):
        given = of_arrays(run, support, query, other)
    else:
        given = of_files(run, support, query, invert, other)
    names, notes = given.names, []

    def tell(line: str) -> None:
        notes.append(line)
        if not as_json:
            note(line)

    for line in given.notes:
        tell(line)
    _check_together(run, len(given.query), note)
    learner, meta = run.learner, run.meta
    seen = given.support
    rejection = None
    if reject:
        check_names(names)
        shots = round(len(seen.targets) / len(names))
        tell(f"{episodes} episodes of validation classes, for the threshold ...")
        rejection = by_validation(
            run, len(names), shots, score=score, episodes=episodes, note=tell
        )
        tell(told(rejection))
    fast = jax.jit(learner.adapt)(meta, seen, keys.drawing())
    # Nearly equal parts: statistics over a batch, where there are any, are of many.
    parts = np.array_split(given.query, -(-len(given.query) // TOGETHER))

    @jax.jit
    def predict(part):
        outputs = learner.predict(meta, fast, part)
        return as_criterion(learner.criterion).prepare(outputs, seen)

    outputs = np.concatenate([np.asarray(predict(part)) for part in parts])
    if np.isnan(outputs).any():
        raise RunError(f"{run.path}: predictions are NaN, its parameters are no use")

    said = answers(names, given.asked, outputs, rejection, given.strangers)
    facts: dict[str, object] = {"run": str(run.path)}
    shown = facts | {
        "recipe": run.name, "step": run.step,
        **{k: v for k, v in run.experiment.facts.items() if k in _SHOWN},
    }  # fmt: skip
    if rejection is not None:
        facts["strangers"] = said.facts
        _keep(run, said.facts, tell)
    n = len(said.found) - given.strangers
    for line in said.lines:
        tell(line)
    if said.accuracy is not None:
        tell(f"accuracy {100 * said.accuracy:.2f} % of {n} files")
    whole = as_json_text(facts, names, said.found, said.accuracy, notes)
    if out is not None:
        drawn, x, y = _pictures(run, seen.inputs, given.query)
        title = run.experiment.title or run.name
        page = Adapted(
            drawn, f"{title}, adapted to these examples.", names, x,
            np.asarray(seen.targets).argmax(1), y[:n], [str(p) for p, _ in given.asked],
            true_classes(names, given.asked, n), softmax(outputs[:n]), "Outputs",
            np.asarray(predict(seen.inputs)), outputs[:n], shown,
            rejected=rejected_of(rejection, said, outputs, y, n),
        )  # fmt: skip
        write_page(out, whole, page, tell)
    if as_json:
        say(whole)
        return said.found
    for one in said.found:
        say(f"{one.path}\t{one.label}\t{one.probability:.4f}")
    return said.found


_SHOWN = ("learner", "dataset", "ways", "shots", "network")


def _pictures(run: Run, support, query) -> tuple[str, Any, Any]:
    """What they are called, and how support and queries look, where they are pictures."""
    arrays = [np.asarray(support), np.asarray(query)]
    if arrays[0].ndim != 4 or arrays[0].shape[-1] not in (1, 3):
        return "examples", [None] * len(arrays[0]), [None] * len(arrays[1])
    x, y = (as_pictures(a) for a in one_range(arrays))
    reader = run.experiment.reader
    if reader is not None and reader.files is data.SOUNDS:
        return "sounds", x[:, ::-1], y[:, ::-1]  # low frequencies lie below
    return "images", x, y


def _keep(run: Run, facts: dict[str, object], tell: Callable[[str], None]) -> None:
    """Into result.json, where the run has one."""
    result = run.result
    if result is None:
        tell(f"{run.path} is not finished: the threshold is not kept in a result.json")
        return
    try:
        write_json(RunFolder(run.path).result, {**result, "strangers": facts})
    except OSError as error:
        tell(f"{run.path / 'result.json'}: not written ({error.strerror})")


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
