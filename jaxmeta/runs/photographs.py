"""Someone's own photographs by a trained network from a file: no training at all."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from jaxmeta import data
from jaxmeta.core import Model
from jaxmeta.data import DataError
from jaxmeta.data.cache import Cache
from jaxmeta.data.photographs import Progress
from jaxmeta.report.adapted import Adapted
from jaxmeta.report.seen import softmax
from jaxmeta.runs import heads
from jaxmeta.runs.adapted import rejected_of, true_classes, write_page
from jaxmeta.runs.answers import (
    Prediction,
    answers,
    as_json_text,
    check_names,
)
from jaxmeta.runs.backbone import Backbone
from jaxmeta.runs.embedding import Say, embedded
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.given import asked_in, classes_in, strangers_in
from jaxmeta.runs.left_out import by_left_out, check_counts
from jaxmeta.runs.reject import ScoreOption, told


def adapt_photographs(
    backbone: Backbone,
    support: str | Path,
    query: str | Path,
    *,
    head: str = "auto",
    views: int = 1,
    skip_damaged: bool = False,
    reject: bool = False,
    score: ScoreOption = "auto",
    strangers: str | Path | None = None,
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
      reject: say "none of these" of pictures that look like no class of the support. There
        are no validation classes here: the threshold is from the support itself, each
        picture left out for the known ones, each class for the strangers.
      score: what is thresholded, see `functional.familiarity`; "auto": what tells
        strangers better there.
      strangers: a folder of pictures that are known to be none of the classes: how many
        of them are turned away is counted apart.
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
    if strangers is not None and not reject:
        raise ConfigError("strangers", strangers, "--reject beside it")
    classes = classes_in("support", Path(support), data.IMAGES)
    names = list(classes)
    if len(names) < 2:
        raise ConfigError("support", f"{len(names)} class folder", "2 or more")
    asked = asked_in(data.IMAGES, Path(query), classes)
    strange = strangers_in(
        data.IMAGES, None if strangers is None else Path(strangers), classes
    )
    if reject:  # before every picture passes the network
        check_names(names)
        check_counts([len(paths) for paths in classes.values()])
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
    others = 0
    if strange:
        z, kept = read("strangers", strange, progress=progress("reading the strangers"))
        asked += [(strange[i], None) for i in kept]
        y, others = np.concatenate([y, z]), len(z)
    decoded = time.perf_counter()
    size = x.shape[1]
    counts = f"{len(x)} support and {len(y) - others} query pictures"
    more = f", {others} strangers" if others else ""
    tell(f"{len(names)} classes, {counts}{more}, {size}x{size}")
    raw, v = _features(backbone, x, y, views, cache, progress("passing the network"))
    passed = time.perf_counter()
    u, v = heads.footing(raw, v)
    chosen, found = _choose(known, head, u, labels, len(names), tell)
    best = found[chosen]
    rejection = None
    if reject:
        rejection = by_left_out(known[chosen], raw, labels, len(names), best, score)
        tell(told(rejection))
    logits = heads.predicted(known[chosen], u, labels, len(names), v, best.temperature)
    done = time.perf_counter()
    seconds = {
        "reading": decoded - start, "network": passed - decoded, "head": done - passed,
    }  # fmt: skip
    tell("seconds: " + ", ".join(f"{what} {t:.1f}" for what, t in seconds.items()))

    answer = answers(names, asked, logits, rejection, others)
    said, accuracy = answer.found, answer.accuracy
    for line in answer.lines:
        tell(line)
    tried = {name: one.accuracy for name, one in found.items()}
    facts = {
        "backbone": backbone.name, "head": chosen, "leave_one_out": tried,
        "left_out": best.rows, "temperature": best.temperature,
        "seconds": {k: round(t, 2) for k, t in seconds.items()},
    }  # fmt: skip
    shown = dict(facts)  # the page says it elsewhere
    if rejection is not None:
        facts["strangers"] = answer.facts
    if accuracy is not None:
        tell(f"accuracy {100 * accuracy:.2f} % of {len(said) - others} pictures")
    whole = as_json_text(facts, names, said, accuracy, notes)
    if out is not None:
        n, paths = len(said) - others, [str(p) for p, _ in asked]
        how = f"Features of {backbone.name}, head {chosen}; nothing was trained."
        page = Adapted(
            "photographs", how, names, x, labels, y[:n], paths[:n],
            true_classes(names, asked, n), softmax(logits[:n]), "Features", u[:, 0],
            v[:n], shown, chosen, tried, best.rows,
            rejected_of(rejection, answer, logits, y, n),
        )  # fmt: skip
        write_page(out, whole, page, tell)
    if not as_text:
        say(whole)
        return said
    for one in said:
        say(f"{one.path}\t{one.label}\t{one.probability:.4f}")
    return said


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
        found = embedded(backbone, both, 1, cache, progress).inputs
        return found[: len(x), None], found[len(x) :]
    sets = (data.from_counts(a, [len(a)], ("all",)) for a in (x, y))
    u, v = (
        embedded(backbone, each, k, cache, progress).inputs
        for each, k in zip(sets, (views, 1), strict=True)
    )
    return u, v


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
