"""What was said of someone's files: predictions, and who was turned away."""

import json
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxmeta.functional import familiarity
from jaxmeta.report.seen import softmax
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.reject import NONE, Rejection, outcome


class Prediction(NamedTuple):
    """What was said about one file.

    Attributes:
      path: the file; of an array FILE.npz[row].
      label: the likeliest class; `NONE` where it was turned away.
      probability: of the likeliest class.
      probabilities: of all classes, by name.
      familiarity: of `functional.familiarity`, where queries may be turned away.
    """

    path: Path
    label: str
    probability: float
    probabilities: dict[str, float]
    familiarity: float | None = None


class Answers(NamedTuple):
    """What was said of all that was asked.

    Attributes:
      found: the predictions, strangers last.
      accuracy: of the queries, where their classes are known: one that was turned away
        is wrong.
      away: which were turned away, `[n]`.
      familiarity: of `[n]`, or `None`.
      facts: about the threshold and what came of it, for result.json.
      lines: likewise, for people.
    """

    found: list[Prediction]
    accuracy: float | None
    away: np.ndarray
    familiarity: np.ndarray | None
    facts: dict[str, object]
    lines: list[str]


def answers(
    names: list[str],
    asked: list[tuple[Path, str | None]],
    outputs: np.ndarray,
    rejection: Rejection | None = None,
    strangers: int = 0,
) -> Answers:
    """Logits `[n, c]` as records.

    Args:
      names: of the classes.
      asked: files, and their classes where they are known.
      outputs: the logits.
      rejection: when to turn one away; `None`: never.
      strangers: how many of the last are known to be of none of the classes.
    """
    n = len(asked) - strangers
    labelled = asked[0][1] is not None
    away, near, facts, lines = np.zeros(len(asked), bool), None, {}, []
    if rejection is not None:
        near = np.asarray(familiarity(jnp.asarray(outputs), rejection.found.score))
        away = near < rejection.found.threshold
        facts, lines = outcome(rejection, near[:n], near[n:], labelled=labelled)
        facts = rejection.facts | facts
    found = [
        Prediction(
            file,
            NONE if away[i] else names[int(row.argmax())],
            float(row.max()),
            dict(zip(names, map(float, row), strict=True)),
            None if near is None else float(near[i]),
        )
        for i, ((file, _), row) in enumerate(zip(asked, softmax(outputs), strict=True))
    ]
    right = [p.label == t for p, (_, t) in zip(found[:n], asked[:n], strict=True)]
    accuracy = float(np.mean(right)) if labelled else None
    return Answers(found, accuracy, away, near, facts, lines)


def check_names(names: list[str]) -> None:
    """Refuses a class that is called as no class is."""
    if NONE in names:
        raise ConfigError("support", f"a class {NONE!r}", "another name with --reject")


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
            **_nearness(one),
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


def _nearness(one: Prediction) -> dict[str, object]:
    """What is said more of one that might have been turned away."""
    if one.familiarity is None:
        return {}
    likeliest = max(one.probabilities, key=lambda name: one.probabilities[name])
    return {"likeliest": likeliest, "familiarity": round(one.familiarity, 6)}
