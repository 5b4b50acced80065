"""report.html: a run, to be looked at."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmeta.report import figures, page
from jaxmeta.report.finished import Finished
from jaxmeta.report.pictures import drawn


def write_report(
    file: Path,
    run: Finished,
    pictures: Sequence,
    result: Mapping[str, Any],
    rows: list[dict],
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Draws the pictures of a finished run and writes its page.

    Args:
      file: report.html.
      run: the trained run.
      pictures: of the experiment: `Finished -> HTML`, or `None` for nothing.
      result: what result.json holds.
      rows: the lines of metrics.jsonl.
      options: of the recipe.
      settings: of the run.
    """
    metric = result["metric"]
    kept = result["kept_step"] if result["kept"] == "best" else None
    parts = [_hero(result, metric)]
    parts += [part for part in (picture(run) for picture in pictures) if part]
    curve = figures.learning_curve(rows, metric, kept)
    about = (
        "Means over the training tasks of each chunk of outer steps; validation on "
        "other tasks, with 95 % intervals. No test task is in it."
    )
    body = drawn(curve, (9, 3.1), "loss and score over outer steps")
    parts.append(page.section("Learning curve", about, body))
    about = "Everything that decides the run: config.json holds the same."
    table = page.table({**options, **settings})
    parts.append(page.section("Settings", about, table))
    where = {**result["fingerprint"], "started": result["started"]}
    about = "What the bits depend on beside the settings."
    parts.append(page.section("Where it ran", about, page.table(where)))
    title = result["title"] or result["recipe"]
    part = file.with_name(f".{file.name}.part")
    part.write_text(page.page(f"{title} - jaxmeta", parts), encoding="utf-8")
    part.replace(file)


def _hero(result: Mapping[str, Any], metric: str) -> str:
    if result[metric] is None:
        value, half = "nan", ""
        metric = f"{metric}: outputs are not finite"
    elif metric == "accuracy":
        value, half = f"{100 * result[metric]:.2f} %", f"± {100 * result['ci95']:.2f}"
    else:
        value, half = f"{result[metric]:.4f}", f"± {result['ci95']:.4f}"
    episodes = (
        f"{metric}, {result['episodes']} test episodes, 95 % t-interval over them"
    )
    warn = (
        "transductive: queries share batch statistics, so predictions depend on the "
        "other queries; compare with transductive results only"
        if result["transductive"]
        else ""
    )
    facts = {
        "learner": result["learner"],
        "outer steps": f"{result['steps']:,} x {result['batch']} tasks",
        "speed": f"{result['tasks_per_second']:,.0f} tasks/s",
        "wall time": _duration(result["wall_seconds"]),
        "of it compiling": _duration(result["compile_seconds"]),
        "seed": result["seed"],
        **({"chosen by": result["chosen_by"]} if "chosen_by" in result else {}),
    }
    title = result["title"] or result["recipe"]
    return page.hero(title, "", value, half, episodes, facts, warn)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
