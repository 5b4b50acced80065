"""`adapt --reject`: when to say "none of these", and how often that is right.

A query whose familiarity is below a threshold is turned away. The threshold is that under
which 5 % of known queries are, where it is known who is whom: in episodes of the run's
validation classes, or, without a run, on the support, each class left out in turn.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxmeta import tasks, train
from jaxmeta.functional.familiarity import Score
from jaxmeta.runs import keys
from jaxmeta.runs.errors import ConfigError, RunError, one_line
from jaxmeta.runs.run import Run
from jaxmeta.tasks.names import is_task
from jaxmeta.train.evaluate_open_set import best_of
from jaxmeta.train.open_set import WRONG, OpenSet, rejected, share_interval

NONE = "none of these"
"""What is said of a query that is turned away."""
EPISODES, QUERIES, STRANGERS = 200, 10, 5
"""Of validation: episodes, queries of a class, and classes of strangers, at most."""
ScoreOption = Score | Literal["auto"]
Note = Callable[[str], None]


class Rejection(NamedTuple):
    """A threshold, and where it is from.

    Attributes:
      found: score, threshold, AUROC and rates.
      facts: all of that, and the sizes of the episodes, for result.json.
      known: familiarity of the known queries that it is from, `[n]`.
      strangers: of the strangers, `[m]`.
    """

    found: OpenSet
    facts: dict[str, Any]
    known: np.ndarray
    strangers: np.ndarray


class Sizes(NamedTuple):
    """Of an episode with strangers."""

    ways: int
    shots: int
    queries: int
    stranger_ways: int


def rejection_of(
    known: Mapping,
    strangers: Mapping,
    score: ScoreOption,
    by: str,
    facts: dict[str, Any],
) -> Rejection:
    """The threshold of some scores.

    Args:
      known: score -> `[episodes][n]`.
      strangers: likewise.
      score: "auto": that of larger AUROC.
      by: what it is calibrated by.
      facts: more of them.

    Raises:
      RunError: scores that are NaN.
    """
    found = best_of(known, strangers, score=score)
    if not np.isfinite(found.threshold) or not np.isfinite(found.auroc):
        raise RunError("reject: outputs are not finite, there is no threshold")
    all_facts = {"by": by, **found._asdict(), "wrong": WRONG, **facts}
    of = found.score
    flat = (np.concatenate([*x[of]]) for x in (known, strangers))
    return Rejection(found, all_facts, *flat)


def by_validation(
    run: Run,
    ways: int,
    shots: int,
    *,
    score: ScoreOption = "auto",
    episodes: int = EPISODES,
    note: Note = lambda line: None,
) -> Rejection:
    """The threshold of episodes of the run's validation classes, never of the test's.

    Args:
      run: opened with its data.
      ways: classes of the support; as many are drawn, as far as there are.
      shots: examples of each; likewise.
      score: see `rejection_of`.
      episodes: how many.
      note: takes a line where sizes differ from those asked for, and the like.

    Raises:
      ConfigError: a run without validation classes, or with too few.
    """
    if episodes < 2:
        raise ConfigError("episodes", episodes, "an integer >= 2")
    val = run.experiment.tasks.val
    sizes, task = nearest(run, ways, shots)
    if (sizes.ways, sizes.shots) != (ways, shots):
        note(
            f"validation classes give {sizes.ways} classes of {sizes.shots} examples at "
            f"a time, the support has {ways} of about {shots}: the threshold is theirs"
        )
    val_names, train_names = (
        set(tasks.class_names(t) or ()) if is_task(t) else set()
        for t in (val, run.experiment.tasks.train)
    )
    if both := val_names & train_names:
        note(
            f"{len(both)} of {len(val_names)} validation classes were trained on, too: "
            "true strangers may be harder to tell than these"
        )
    found = train.open_scores(
        run.learner, run.meta, task, keys.strangers(), episodes=episodes
    )
    facts = {**sizes._asdict(), "seed": 0}
    return rejection_of(
        found.known, found.strangers, score, "validation classes", facts
    )


def nearest(run: Run, ways: int, shots: int) -> tuple[Sizes, Callable]:
    """Episodes with strangers, as near to a support as the validation classes allow."""
    val = run.experiment.tasks.val
    wants = (
        "a run opened with its data, whose validation draws classes of a data set "
        "(few_shot, glyphs, other_hands, within_groups, meta_dataset)"
    )
    if not is_task(val):
        what = "no validation" if val is None else "validation episodes from the host"
        raise ConfigError("reject", f"a run with {what}", wants)
    try:
        most = tasks.class_count(val)
    except TypeError as error:
        raise ConfigError("reject", "a run of other validation", wants) from error
    if most is not None and most < 3:
        raise ConfigError("reject", f"{most} validation classes", "3 or more")
    known = ways if most is None else min(ways, most - 1)
    if run.experiment.head and known < ways:
        wants = f"at most {known} for --reject, with {most} validation classes"
        raise ConfigError("support", f"{ways} classes", wants)
    others = STRANGERS if most is None else min(STRANGERS, most - known)
    failed: Exception | None = None
    for shot in range(shots, 0, -1):
        for queries in range(QUERIES, 0, -1):
            try:
                task = tasks.open_set(val, known, shot, queries, strangers=others)
                return Sizes(known, shot, queries, others), task
            except ValueError as error:
                failed = error
    wants = f"enough examples for a shot and a query: {one_line(failed)}"
    raise ConfigError("reject", "validation classes that are too small", wants)


def told(rejection: Rejection) -> str:
    """The threshold and what it is worth, in a line."""
    found, facts = rejection.found, rejection.facts
    line = f"threshold {found.threshold:.3f} of {found.score}"
    if found.score == "max_probability":
        line += f" (log-odds: p = {jax.nn.sigmoid(found.threshold):.3f})"
    if "ways" in facts:
        of = (
            f"{found.episodes} episodes of {facts['ways']} validation classes, "
            f"{facts['shots']} examples of each, and {facts['stranger_ways']} classes of "
            "strangers"
        )
    else:
        of = f"leaving out each of {found.episodes} classes of the support in turn"
    return f'"{NONE}": {line}, by {of}: {found}'


def outcome(
    rejection: Rejection, queries: np.ndarray, strangers: np.ndarray, *, labelled: bool
) -> tuple[dict[str, Any], list[str]]:
    """What came of it, for result.json, and in lines.

    Args:
      rejection: the threshold.
      queries: their familiarity, `[m]`.
      strangers: that of those who are known to be strangers, `[k]`, maybe none.
      labelled: whether the queries are known to be of the classes of the support.
    """
    threshold = rejection.found.threshold
    away = int((queries < threshold).sum())
    facts: dict[str, Any] = {"queries_given": len(queries), "rejected": away}
    lines = [f"turned away: {away} of {len(queries)} queries"]

    def share(name: str, what: str, scores: np.ndarray) -> None:
        rate = rejected(scores, threshold)
        low, high = share_interval(rate, len(scores))
        facts[f"{name}_given"] = {"share": rate, "low": low, "high": high}
        lines.append(
            f"{what}: {round(rate * len(scores))} of {len(scores)}, {100 * rate:.1f} % "
            f"(95 %: {100 * low:.1f} to {100 * high:.1f})"
        )

    if labelled:
        share("wrong_rejections", "wrongly turned away", queries)
    if len(strangers):
        facts["strangers_given"] = len(strangers)
        share("right_rejections", "strangers turned away", strangers)
    if labelled and len(strangers):
        area, half = (
            f(queries, strangers) for f in (train.auroc, train.auroc_interval)
        )
        half = half if np.isfinite(half) else None
        facts["auroc_given"] = {"auroc": area, "ci95": half}
        interval = "" if half is None else f" ± {half:.3f} over pictures"
        lines.append(f"AUROC of queries against strangers: {area:.3f}{interval}")
    return facts, lines
