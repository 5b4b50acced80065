"""Who was told "none of these": how familiar they are, and what they look like."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxmeta.report import page
from jaxmeta.report.figures import Draw, drawn
from jaxmeta.report.pictures import figure_of

MOST = 24


class Rejected(NamedTuple):
    """A threshold, and who is below it.

    Attributes:
      score: what was thresholded.
      threshold: of it.
      away: which queries were turned away, `[m]`.
      familiarity: of the queries, `[m]`.
      known: of the known ones that made the threshold.
      strangers: of the strangers beside them.
      others: pictures that are known to be none of the classes, `[k, h, w, 3]`; `None`
        each, where inputs are no pictures.
      familiarity_of_others: of them, `[k]`.
      sure_of_others: probabilities of them, `[k, c]`.
      lines: about it.
    """

    score: str
    threshold: float
    away: np.ndarray
    familiarity: np.ndarray
    known: np.ndarray
    strangers: np.ndarray
    others: np.ndarray | Sequence[np.ndarray | None]
    familiarity_of_others: np.ndarray
    sure_of_others: np.ndarray
    lines: Sequence[str]


def turned_away(
    found: Rejected,
    names: Sequence[str],
    query: np.ndarray | Sequence[np.ndarray | None],
    sure: np.ndarray,
    true: np.ndarray | None,
) -> str:
    """A section: the threshold, those below it, and strangers who got past it.

    Args:
      found: the threshold.
      names: of the classes.
      query: pictures, `[m, h, w, 3]`, or `None` each.
      sure: probabilities, `[m, c]`.
      true: the classes of the queries, where they are known.
    """

    def picture(image, row, kind: str, more: str = "") -> str:
        best = int(row.argmax())
        said = f"{page.name(names[best])} {100 * row[best]:.0f}&nbsp;%"
        return figure_of(image, kind, f"{more}{said}")

    parts = [drawn(_draw(found), (9, 3.6), "how familiar queries are")]
    away = np.flatnonzero(found.away)
    away = away[np.argsort(found.familiarity[away], kind="stable")]
    shown = []
    for i in away[:MOST]:
        if true is None:
            shown.append(picture(query[i], sure[i], ""))
        else:
            more = f"✗ is {page.name(names[int(true[i])])}; "
            shown.append(picture(query[i], sure[i], "wrong", more))
    parts.append(_row("Queries that were turned away", shown, len(away)))
    if len(found.others):
        order = np.argsort(-found.familiarity_of_others, kind="stable")
        past = [i for i in order if found.familiarity_of_others[i] >= found.threshold]
        got = [
            picture(found.others[i], found.sure_of_others[i], "wrong", "✗ ")
            for i in past[:MOST]
        ]
        parts.append(_row("Strangers that were taken for a class", got, len(past)))
    text = (
        "Whoever is less familiar than the line was told so. Below a picture is the class "
        "that it would have been, and how likely."
    )
    lines = "".join(page.note(line) for line in found.lines)
    return page.section("None of these", text, lines + "".join(parts))


def _row(title: str, pictures: Sequence[str], count: int) -> str:
    more = f" {len(pictures)} of {count}." if count > len(pictures) else ""
    if not pictures:
        return page.note(f"{title}: none.")
    body = f'<div class="wrap">{"".join(pictures)}</div>'
    return page.note(f"{title}: {count}.{more}") + body


def _draw(found: Rejected) -> Draw:
    def draw(figure, theme):
        axis = figure.subplots()
        rows = {
            "known, left out": (found.known, theme.blue),
            "strangers, left out": (found.strangers, theme.orange),
            "queries": (found.familiarity, theme.ink),
        }
        if len(found.others):
            rows["strangers, given"] = (found.familiarity_of_others, theme.bad)
        random = np.random.default_rng(0)
        for y, (values, colour) in enumerate(rows.values()):
            spread = y + random.uniform(-0.28, 0.28, len(values))
            axis.scatter(values, spread, s=12, color=colour, alpha=0.6, lw=0)
        axis.axvline(found.threshold, color=theme.ink, lw=1, ls="--")
        axis.set_yticks(
            range(len(rows)), [f"{k} ({len(v)})" for k, (v, _) in rows.items()]
        )
        axis.set(
            xlabel=_AXES.get(found.score, found.score), ylim=(len(rows) - 0.5, -0.5)
        )
        axis.grid(axis="x")

    return draw


_AXES = {
    "max_probability": "log-odds of the likeliest class; dashed: the threshold",
    "energy": "log of the sum of exponentials of all logits; dashed: the threshold",
}
