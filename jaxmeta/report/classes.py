"""What was taken for what: in an episode, and class by class over the test."""

from collections.abc import Sequence

import numpy as np

from jaxmeta.report import page
from jaxmeta.report.finished import Finished
from jaxmeta.report.seen import Classified, classified
from jaxmeta.tasks import class_names
from jaxmeta.tasks.names import is_task

MOST_CLASSES = 12
"""Classes up to which mistakes are a table."""


def mistakes(run: Finished) -> str | None:
    """What was taken for what in one test episode.

    Args:
      run: the trained run.

    Returns:
      HTML, or `None` where no episode can be drawn.

    Raises:
      ValueError: targets that are not those of classes.
    """
    task = classified(run)
    return None if task is None else confused(task)


def confused(task: Classified) -> str:
    """The section of `mistakes` for an episode that has been drawn."""
    shown = task.present[:MOST_CLASSES]
    counts = confusion(task.true, task.said, len(task.names))[shown][:, shown]
    wrong = int(np.sum(task.said != task.true))
    text = (
        f"The queries of one test episode, {wrong} of {len(task.true)} wrong. A row is "
        "a class, a column what was said."
    )
    if len(shown) < len(task.present):
        text += f" The first {len(shown)} of {len(task.present)} classes."
    table = table_of([task.names[c] for c in shown], counts)
    return page.section("Mistakes", text, table)


def table_of(
    names: Sequence[str],
    counts: np.ndarray,
    *,
    numbers: Sequence[int] | np.ndarray | None = None,
) -> str:
    """Counts of what was said as a table: a row is a class, a column what was said.

    Args:
      names: of the classes.
      counts: `[c, c]`.
      numbers: of the classes: before the name in a row, and alone over a column, so that
        many long names have room.

    Returns:
      HTML.
    """
    tags, rows, kind = names, names, "mistakes"
    if numbers is not None:
        tags, kind = [str(i) for i in numbers], "mistakes numbered"
        rows = [f"{tag}. {name}" for tag, name in zip(tags, names, strict=True)]
    heads = "".join(f"<th>{page.name(tag)}</th>" for tag in tags)
    body = "".join(
        f"<tr><th>{page.name(name)}</th>"
        f"{''.join(_cell(n, counts.max()) for n in row)}</tr>"
        for name, row in zip(rows, counts, strict=True)
    )
    return f'<table class="{kind}"><tr><th></th>{heads}</tr>{body}</table>'


def _cell(count: int, most: int) -> str:
    if count == 0:
        return "<td></td>"
    # at most half covered: the ink of either colour scheme stays readable on it
    return f'<td style="--part:{round(50 * count / most)}%">{count}</td>'


def confusion(true: np.ndarray, said: np.ndarray, ways: int) -> np.ndarray:
    """Counts of predictions: row is the true class, column the predicted one.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, -1]), 2).tolist()
    [[1, 1], [0, 0]]
    """
    table = np.zeros((ways, ways), int)
    known = said >= 0
    np.add.at(table, (true[known], said[known]), 1)
    return table


MOST_NAMES = 20
"""Classes up to which all are listed; else half of it from either end."""


def per_class(run: Finished) -> str | None:
    """Accuracy class by class over the test, the hardest first.

    Args:
      run: the trained run.

    Returns:
      HTML, or `None` where classes have no names.
    """
    found = run.found.per_class
    if not found:
        return None
    taken = _taken_for(run)
    order = sorted(found, key=lambda name: (found[name], name))
    text = (
        f"Over the {run.found.episodes} test episodes, the hardest first, and what each "
        "was most often taken for. An episode holds some of the classes: what a class "
        "is taken for depends on which are beside it."
    )
    parts = [order]
    if len(order) > MOST_NAMES:
        half = MOST_NAMES // 2
        parts = [order[:half], order[-half:]]
        text += f" The {half} hardest and the {half} easiest of {len(order)} classes."
    lists = "".join(
        f"<table><tr><th>class</th><th>accuracy</th><th>taken for</th></tr>"
        f"{''.join(_class(n, found[n], taken.get(n, '')) for n in part)}</table>"
        for part in parts
    )
    return page.section("Class by class", text, f'<div class="two">{lists}</div>')


def _class(name: str, right: float, taken: str) -> str:
    return (
        f"<tr><td>{page.text(name)}</td><td>{100 * right:.1f}&nbsp;%</td>"
        f"<td>{page.text(taken)}</td></tr>"
    )


def _taken_for(run: Finished) -> dict[str, str]:
    """The commonest mistake of each class, as a share of its queries."""
    table = run.found.confusion
    names = class_names(run.test) if is_task(run.test) else None
    if table is None or names is None:
        return {}
    said = {}
    for i, name in enumerate(names):
        others = np.where(np.arange(len(names)) == i, 0, np.nan_to_num(table[i]))
        if others.max() > 0:
            share = 100 * others.max() / np.nansum(table[i])
            said[name] = f"{names[int(others.argmax())]}, {share:.0f} %"
    return said
