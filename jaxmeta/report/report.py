"""report.html: a run, to be looked at."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxmeta.report import page
from jaxmeta.report.finished import Finished
from jaxmeta.report.learning import learning

Picture = Callable[[Finished], str | None]
"""A part of the page: a trained run -> HTML, or `None` for nothing."""

_HARDWARE = ("device", "devices", "backend", "platform", "cpu_threads", "nproc")
_NUMERICS = ("matmul_precision", "x64", "prng", "xla_flags")


def write_report(
    file: Path,
    run: Finished,
    pictures: Sequence[Picture],
    result: Mapping[str, Any],
    rows: list[dict],
    options: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Draws the pictures of a finished run and writes its page.

    A picture that fails is a line on the page and a warning: a run of a day is not lost
    for it.

    Args:
      file: report.html; it is whole or not there.
      run: the trained run.
      pictures: of the experiment: `Finished -> HTML`, or `None` for nothing.
      result: what result.json holds.
      rows: the lines of metrics.jsonl.
      options: of the recipe.
      settings: of the run.
    """
    title = result["title"] or result["recipe"]
    parts = [_hero(title, result)]
    parts += [_drawn(picture, run) for picture in pictures]
    parts.append(_drawn(_learning_of(rows, result), run))
    parts += _tables(result, options, settings)
    page.write(file, page.page(f"{title} - jaxmeta", [part for part in parts if part]))


def _learning_of(rows: list[dict], result: Mapping[str, Any]) -> Picture:
    def learning_curves(run: Finished) -> str | None:
        del run
        return learning(rows, result)

    return learning_curves


def _drawn(picture: Picture, run: Finished) -> str:
    """A part of the page, or what became of it."""
    try:
        return picture(run) or ""
    except Exception as error:  # whatever it is, the numbers are worth more
        inner = picture
        while hasattr(inner, "func"):  # a partial
            inner = inner.func
        name = getattr(inner, "__name__", type(inner).__name__)
        said = f"{name}: {type(error).__name__}: {error}"
        warnings.warn(f"report: a picture is left out ({said})", stacklevel=3)
        return page.section("A picture is missing", f"It failed with {said}", "")


def _hero(title: str, result: Mapping[str, Any]) -> str:
    metric = result["metric"]
    value, half = score(result)
    what = metric
    if isinstance(result.get("ways"), int) and metric == "accuracy":
        shots = f" {result['shots']}-shot" if result.get("shots") else ""
        what = f"{result['ways']}-way{shots} accuracy"
    if result[metric] is None:
        what += ": outputs are not finite"
    caption = f"{what}, {result['episodes']} test episodes, 95 % t-interval over them"
    warn = {
        True: "transductive: queries are predicted together, so predictions depend on "
        "the other queries; compare with transductive results only",
        False: "",
        None: "whether it is transductive is unknown: predictions are not finite",
    }[result["transductive"]]
    recipe = f"recipe {result['recipe']}, jaxmeta {result['version']}"
    return page.hero(title, recipe, value, half, caption, _facts(result), warn)


def score(result: Mapping[str, Any]) -> tuple[str, str]:
    """The headline and half its interval, in words.

    >>> score({"metric": "accuracy", "accuracy": 0.98123, "ci95": 0.002})
    ('98.12 %', '± 0.20')
    """
    value, half = result[result["metric"]], result["ci95"]
    if value is None:
        return "nan", ""
    if result["metric"] == "accuracy":
        return f"{100 * value:.2f} %", "" if half is None else f"± {100 * half:.2f}"
    how = ".4f" if 1e-3 <= abs(value) < 1e4 else ".3g"
    return format(value, how), "" if half is None else f"± {half:{how}}"


def _facts(result: Mapping[str, Any]) -> dict[str, object]:
    facts: dict[str, object] = {}
    if result["learner"] != result["recipe"]:  # else nobody has said what it is
        facts["learner"] = result["learner"]
    if result.get("dataset"):
        facts["data"] = result["dataset"]
    if result["metric"] == "accuracy" and isinstance(result.get("ways"), int):
        facts["chance"] = f"{100 / result['ways']:.1f} %"
    facts["outer steps"] = f"{result['steps']:,} x {result['batch']} tasks"
    if result["kept"] == "best" and result["validation"]:
        facts["tested"] = f"step {result['kept_step']:,}, best by validation"
    return facts | {
        "speed": f"{result['tasks_per_second']:,.0f} tasks/s",
        "wall time": _duration(result["wall_seconds"]),
        "of it compiling": _duration(result["compile_seconds"]),
        "seed": result["seed"],
    }


_TOLD = frozenset(
    "recipe title learner dataset metric ci95 episodes ways shots queries train_ways "
    "seed steps batch transductive kept kept_step validation tasks_per_second "
    "train_seconds compile_seconds wall_seconds started version fingerprint".split()
)
"""What the page says elsewhere; the rest of a result is a table."""


def _tables(result, options, settings) -> list[str]:
    rest = {k: v for k, v in result.items() if k not in _TOLD | {result["metric"]}}
    parts = []
    if rest:
        about = "Also in result.json: what the experiment measures, and facts of it."
        parts.append(page.section("More figures", about, page.table(rest)))
    # a setting of the same name won over the option
    own = {k: v if settings.get(k) is None else settings[k] for k, v in options.items()}
    if own:
        about = f"Of the recipe {result['recipe']}."
        parts.append(page.section("Options", about, page.table(own)))
    every = {k: v for k, v in settings.items() if k not in options}
    about = "Of every run. config.json holds them and the options."
    parts.append(page.section("Settings", about, page.table(every)))
    return [*parts, _where(result)]


def _where(result: Mapping[str, Any]) -> str:
    """Hardware and versions."""
    seen = dict(result["fingerprint"])
    machine = {k: seen.pop(k) for k in (*_HARDWARE, *_NUMERICS) if k in seen}
    about = (
        "Hardware and versions: what the bits depend on beside options and settings."
    )
    body = page.table(
        {k: v for k, v in {**machine, **seen}.items() if v != ""}
        | {"started": result["started"]}
    )
    return page.section("Where it ran", about, body)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
