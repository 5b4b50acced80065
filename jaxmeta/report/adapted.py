"""report.html of somebody's files that were classified: a page to look at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from jaxmeta.report import page
from jaxmeta.report.classes import MOST_CLASSES, confusion, table_of
from jaxmeta.report.figures import Draw, drawn, plain
from jaxmeta.report.pictures import figure_of
from jaxmeta.report.rejected import Rejected, turned_away

MOST_SHOWN, MOST_SHOTS, MOST_HARD = 20, 5, 24
MOST_NAMED = 30
"""Classes up to which the map names them."""


Pictures = np.ndarray | Sequence[np.ndarray | None]


class Adapted(NamedTuple):
    """What was learned from, what was asked, and what was said.

    Attributes:
      things: what they are: "photographs".
      how: a sentence: by what they were told apart.
      names: of the classes.
      support: pictures, uint8 `[n, h, w, 3]` or `[n, h, w]`; `None` each, where inputs are
        no pictures.
      labels: of the support, `[n]`.
      query: pictures, likewise.
      paths: of the queries.
      true: their classes, `[m]`, or `None` where nobody has said.
      sure: probabilities `[m, c]`.
      mapped: what the map shows: "Features", "Outputs".
      known: of the support, `[n, d]`.
      asked: of the queries, `[m, d]`.
      facts: for the foot of the page.
      head: the one that was used; "": it is a trained learner's own.
      tried: head -> leave-one-out accuracy, `None` where there is none.
      left_out: support pictures that were left out in turn.
      rejected: who was told "none of these"; `None` where all are one of the classes.
    """

    things: str
    how: str
    names: Sequence[str]
    support: Pictures
    labels: np.ndarray
    query: Pictures
    paths: Sequence[str]
    true: np.ndarray | None
    sure: np.ndarray
    mapped: str
    known: np.ndarray
    asked: np.ndarray
    facts: Mapping[str, Any]
    head: str = ""
    tried: Mapping[str, float | None] = MappingProxyType({})
    left_out: int = 0
    rejected: Rejected | None = None


def write_adapted(file: Path, found: Adapted) -> None:
    """Writes the page.

    Args:
      file: report.html.
      found: what was done.
    """
    parts = [_hero(found)]
    if found.support[0] is not None:
        parts.append(_support(found))
    if found.rejected is not None:
        about = (found.names, found.query, found.sure, found.true)
        parts.append(turned_away(found.rejected, *about))
    parts.append(_hardest(found))
    if found.true is not None:
        parts.append(_confused(found, found.true))
    parts.append(_map(found))
    if found.tried:
        parts.append(_heads(found))
    about = "Also in result.json, with all probabilities."
    parts.append(page.section("How", about, page.table(found.facts)))
    page.write(file, page.page(f"{found.things} - jaxmeta", parts))


def said(found: Adapted) -> np.ndarray:
    """The class that was said of each query, -1 for none of these."""
    likeliest = found.sure.argmax(1)
    return (
        likeliest
        if found.rejected is None
        else np.where(found.rejected.away, -1, likeliest)
    )


def _hero(found: Adapted) -> str:
    n, m, ways = len(found.support), len(found.query), len(found.names)
    title = f"{m} {found.things}, told apart by {n} examples of {ways} classes"
    facts = {
        "classes": ways,
        "support": n,
        "queries": m,
        "chance": f"{100 / ways:.1f} %",
    }
    if found.rejected is not None:
        facts["turned away"] = int(found.rejected.away.sum())
    if found.true is None:
        sure = 100 * found.sure.max(1).mean()
        text = (
            "mean probability of the class that was said: nobody has said the true ones"
        )
        return page.hero(title, found.how, f"{sure:.1f} %", "", text, facts, "")
    right = said(found) == found.true
    half = 196 * np.sqrt(right.mean() * (1 - right.mean()) / m)
    text = f"of the queries are right; 95 % interval over the {found.things}"
    if found.rejected is not None:
        text += "; who was turned away counts as wrong"
    value, interval = f"{100 * right.mean():.1f} %", f"± {half:.1f}"
    return page.hero(title, found.how, value, interval, text, facts, "")


def _support(found: Adapted) -> str:
    """A row a class."""
    body = []
    for c, name in list(enumerate(found.names))[:MOST_SHOWN]:
        mine = np.flatnonzero(found.labels == c)
        images = "".join(figure_of(found.support[i], "") for i in mine[:MOST_SHOTS])
        more = len(mine) - MOST_SHOTS
        end = f"<td>and {more} more</td>" if more > 0 else "<td></td>"
        body.append(
            f"<tr><th>{page.name(name)}</th><td><div>{images}</div></td>{end}</tr>"
        )
    table = f'<table class="episode">{"".join(body)}</table>'
    if len(found.names) > MOST_SHOWN:
        table += page.note(f"The first {MOST_SHOWN} of {len(found.names)} classes.")
    return page.section("Support", "What it was given, as the network sees it.", table)


def hardest(found: Adapted) -> np.ndarray:
    """Queries in order: the surest mistakes first, then the least sure of the rest."""
    order = np.sort(found.sure, 1)
    margin = order[:, -1] - order[:, -2]
    if found.true is None:
        return np.argsort(margin)
    wrong = found.sure.argmax(1) != found.true
    return np.argsort(np.where(wrong, -1 - margin, margin), kind="stable")


def _hardest(found: Adapted) -> str:
    order, kept = hardest(found), said(found) >= 0
    shown = order[kept[order]][:MOST_HARD]
    images = []
    for i in shown:
        taken = int(found.sure[i].argmax())
        sure = f"{100 * found.sure[i, taken]:.0f}&nbsp;%"
        name = page.name(found.names[taken])
        if found.true is None:
            kind, caption = "", f"{name} {sure}"
        elif taken == found.true[i]:
            kind, caption = "right", f"✓ {name} {sure}"
        else:
            true = page.name(found.names[int(found.true[i])])
            kind, caption = "wrong", f"✗ {name} {sure}, is {true}"
        if found.query[i] is None:
            caption = f"{page.name(Path(found.paths[int(i)]).name)}<br>{caption}"
        images.append(figure_of(found.query[i], kind, caption))
    text = "Mistakes, the surest first; then those that were least sure."
    if found.true is None:
        text = "Those that were least sure."
    if kept.sum() > len(shown):
        text += f" {len(shown)} of {kept.sum()}."
    body = f'<div class="wrap">{"".join(images)}</div>'
    return page.section("Hardest queries", text, body)


def _confused(found: Adapted, true: np.ndarray) -> str:
    counts = confusion(true, said(found), len(found.names))
    shown = np.arange(len(found.names))
    text = "A row is a class, a column what was said."
    if (said(found) < 0).any():
        text += f" The {(said(found) < 0).sum()} that were turned away are not in it."
    if len(shown) > MOST_CLASSES:
        wrong = counts.sum(1) + counts.sum(0) - 2 * np.diag(counts)
        shown = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
        text += f" The {MOST_CLASSES} of {len(found.names)} classes with most mistakes."
    names = [found.names[int(c)] for c in shown]
    table = table_of(names, counts[shown][:, shown], numbers=shown + 1)
    return page.section("Confusion", text, table)


def plane(known: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Both on the two directions in which they vary most, and the share of it.

    >>> points, others, share = plane(np.eye(3)[:2], np.eye(3)[2:])
    >>> points.shape, others.shape, round(share, 3)
    ((2, 2), (1, 2), 1.0)
    """
    both = np.concatenate([known, asked]).astype(float)
    both -= both.mean(0)
    u, s, _ = np.linalg.svd(both, full_matrices=False)
    share = float((s[:2] ** 2).sum() / max((s**2).sum(), 1e-300))
    at = u[:, :2] * s[:2]
    return at[: len(known)], at[len(known) :], share


def _map(found: Adapted) -> str:
    at, others, share = plane(found.known, found.asked)
    text = (
        f"{found.mapped} of support (rings) and queries (dots) on their first two principal "
        f"components, which hold {100 * share:.0f} % of the variance: what lies together "
        "here may lie apart in the other directions. A number is the mean of a class."
    )
    taken = said(found)
    labels = taken if found.true is None else found.true
    if found.true is not None:
        text += " A cross is a query that was taken for another class."
    if (taken < 0).any():
        text += " A square is one that was turned away."
    draw = _draw(found, at, others, labels, labels != taken)
    return page.section(
        "Map", text, drawn(draw, (9, 7), f"{found.mapped.lower()} in two dimensions")
    )


def _draw(found: Adapted, at, others, labels, wrong) -> Draw:
    def draw(figure, theme):
        from matplotlib import colormaps

        axis = figure.subplots()
        away, ways = said(found) < 0, len(found.names)
        colours = (
            colormaps["tab20"] if ways <= 20 else colormaps["hsv"].resampled(ways + 1)
        )
        for c, name in enumerate(found.names):
            colour, mine = colours(c), found.labels == c
            look = {"facecolors": "none", "edgecolors": [colour], "linewidths": 1.8}
            axis.scatter(*at[mine].T, s=70, label=f"{c + 1}. {plain(name)}", **look)
            asked = (labels == c) & ~away
            axis.scatter(*others[asked & ~wrong].T, s=14, color=[colour], alpha=0.8)
            axis.scatter(*others[asked & wrong].T, s=30, color=[colour], marker="x")
            # the number at the mean: colours of twenty classes are not told apart
            axis.text(*at[mine].mean(0), str(c + 1), fontsize=11, weight="bold",
                      color=theme.ink, ha="center", va="center")  # fmt: skip
        square = {"marker": "s", "facecolors": "none", "edgecolors": theme.ink}
        axis.scatter(*others[away].T, s=24, linewidths=0.9, **square)
        axis.set(xlabel="first component", ylabel="second component")
        axis.set(xticks=[], yticks=[])
        if ways <= MOST_NAMED:
            place = {"loc": "outside lower center", "ncols": 3, "fontsize": 8}
            figure.legend(*axis.get_legend_handles_labels(), **place)

    return draw


def _heads(found: Adapted) -> str:
    rows = {
        name + (" (used)" if name == found.head else ""): (
            "not known" if accuracy is None else f"{100 * accuracy:.1f} %"
        )
        for name, accuracy in found.tried.items()
    }
    text = (
        f"Right of {found.left_out} support pictures, each left out in turn. The best of "
        "several is a little better here than on new pictures."
    )
    if not found.left_out:
        text = "With one picture a class none can be left out."
    return page.section("Heads", text, page.table(rows))
