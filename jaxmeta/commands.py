"""The commands, a function each: what they were asked, and the call that does it.

JAX is not touched before the input has been read, so that wrong input is said at once.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from jaxmeta.runs.errors import ConfigError, RunError, one_line
from jaxmeta.runs.files import expanded
from jaxmeta.runs.options import REQUIRED, Option, own_options
from jaxmeta.runs.registry import Files
from jaxmeta.runs.usage import (
    adapt_options,
    compare_options,
    embed_options,
    evaluate_options,
    export_options,
    fit_options,
    photograph_options,
)
from jaxmeta.runs.words import Words, read, show


def _train(words: Words, files: Files) -> int:
    from jaxmeta.recipes import DEFAULT
    from jaxmeta.runs.asked import asked

    wanted = asked(words, files, DEFAULT)
    if wanted.help is not None:
        print(wanted.help)
        return 0
    from jaxmeta.runs.cache import enable_cache
    from jaxmeta.runs.devices import prepare
    from jaxmeta.runs.making import make
    from jaxmeta.runs.stop import Interrupted
    from jaxmeta.runs.training import train_made

    enable_cache()
    prepare(wanted.settings.devices)
    made = make(wanted.recipe, wanted.options, files)
    try:
        train_made(made, wanted.settings, _say)
    except Interrupted as stopped:
        return fail(stopped, stopped.status)
    return 0


def _opened(
    words: Words,
    files: Files,
    command: str,
    *,
    data: bool = True,
    moved: str | None = None,
):
    """The run that a command is about; `moved` is where its data lie now."""
    from jaxmeta.runs.run import load

    path = _run(words, command)
    options = {} if moved is None else {"data": moved}
    try:
        return load(path, files=files, data=data, options=options)
    except ConfigError as error:
        if command != "adapt" or error.field != "data" or not data:
            raise
        wants = (
            f"--data DIR, for --reject draws classes of the run's validation: {error}"
        )
        raise ConfigError(
            "data", moved or "what the run was trained on", wants
        ) from error


def _options(function: Callable) -> dict[str, Option]:
    return {option.name: option for option in own_options(function)}


def _help_of(function: Callable, usage: str) -> int:
    text = (function.__doc__ or "").split("    Args:")[0]
    lines = [line.strip() for line in text.strip().splitlines()]
    print(f"usage: jaxmeta {usage}\n\n" + "\n".join(lines).strip() + "\n")
    print(show(own_options(function)))
    return 0


def _evaluate(words: Words, files: Files) -> int:
    if words.help:
        return _help_of(evaluate_options, "evaluate RUN [--option value ...]")
    from jaxmeta.runs.asked import choices_of
    from jaxmeta.runs.cache import enable_cache
    from jaxmeta.runs.evaluation import evaluate, reopened

    path = _run(words, "evaluate")
    own = _options(evaluate_options)
    options = reopened(path, choices_of(words), files)
    said = read(words.said, {**options, **own})
    episodes = said.pop("episodes", own["episodes"].default)
    if episodes < 2:
        raise ConfigError("episodes", episodes, "an integer >= 2")
    enable_cache()
    evaluate(path, episodes=episodes, options=said, files=files, say=_say)
    return 0


def _adapt(words: Words, files: Files) -> int:
    if words.help:
        _help_of(adapt_options, "adapt RUN --support DIR --query DIR")
        print()
        return _help_of(
            photograph_options, "adapt --backbone FILE --support DIR --query DIR"
        )
    if "backbone" in words.said:
        return _adapt_photographs(words)
    from jaxmeta.runs.adapt import adapt
    from jaxmeta.runs.cache import enable_cache

    said = read(words.said, _options(adapt_options))
    for field in ("support", "query"):
        if field not in said:
            raise ConfigError(field, "nothing", "a folder with images, or FILE.npz")
    reject = said.pop("reject", False)
    for field in ("score", "strangers", "episodes", "data"):
        if field in said and not reject:
            raise ConfigError(field, said[field], "--reject beside it")
    enable_cache()
    data = said.pop("data", None)
    run = _opened(words, files, "adapt", data=reject, moved=data)
    support, query = (expanded(said.pop(name)) for name in ("support", "query"))
    if "strangers" in said:
        said["strangers"] = expanded(said["strangers"])
    said["out"] = expanded(said.get("out", _options(adapt_options)["out"].default))
    as_json = said.pop("json", False)
    adapt(
        run,
        support,
        query,
        **said,
        reject=reject,
        as_json=as_json,
        say=_say,
        note=note,
    )
    return 0


def _photographs(words: Words, function: Callable, command: str):
    """The backbone that a command is given, and its other options with their defaults."""
    from jaxmeta.runs.backbone import load_backbone
    from jaxmeta.runs.cache import enable_cache

    own = _options(function)
    said = {name: o.default for name, o in own.items()} | read(words.said, own)
    for name in (name for name, value in said.items() if value is REQUIRED):
        raise ConfigError(name, "nothing", own[name].help)
    if words.names:
        wants = f"options alone: jaxmeta {command} --backbone FILE ..."
        raise ConfigError(command, " ".join(words.names), wants)
    enable_cache()
    file, pictures = expanded(said.pop("backbone")), said.pop("pictures")
    return load_backbone(file, pictures=pictures), said


def _adapt_photographs(words: Words) -> int:
    backbone, said = _photographs(words, photograph_options, "adapt")
    from jaxmeta.data.photographs import bar
    from jaxmeta.runs.photographs import adapt_photographs

    if "score" in words.said and not said["reject"]:
        raise ConfigError("score", said["score"], "--reject beside it")
    folders = [expanded(said.pop(name)) for name in ("support", "query")]
    if said["strangers"] is not None:
        said["strangers"] = expanded(said["strangers"])
    said["out"] = expanded(said["out"])
    text = not said.pop("json")
    adapt_photographs(
        backbone, *folders, **said, as_text=text, say=_say, note=note, progress=bar
    )
    return 0


def _embed(words: Words, files: Files) -> int:
    if words.help:
        return _help_of(
            embed_options, "embed --backbone FILE --data DIR --out FILE.npz"
        )
    backbone, said = _photographs(words, embed_options, "embed")
    from jaxmeta.data.photographs import bar
    from jaxmeta.runs.embedding import embed_photographs

    where = [expanded(said.pop(name)) for name in ("data", "out")]
    embed_photographs(backbone, *where, **said, note=note, progress=bar)
    return 0


def _fit(words: Words, files: Files) -> int:
    if words.help:
        return _help_of(
            fit_options, "fit TABLE.csv --target COLUMN [--predict OTHER.csv]"
        )
    said = read(words.said, _options(fit_options))
    if len(words.names) != 1:
        raise ConfigError("table", " ".join(words.names) or "nothing", "a CSV file")
    if "target" not in said:
        raise ConfigError("target", "nothing", "the column that is asked about")
    from jaxmeta.runs.cache import enable_cache

    try:
        from jaxmeta.estimators import library  # noqa: F401
        from jaxmeta.estimators.fitting import fit_table
    except ImportError as error:
        raise RunError(str(error)) from error
    enable_cache()
    said |= {k: expanded(said[k]) for k in ("predict", "out") if said.get(k)}
    fit_table(expanded(words.names[0]), **said, say=_say)
    return 0


def _export(words: Words, files: Files) -> int:
    if words.help:
        return _help_of(export_options, "export RUN [--out DIR]")
    from jaxmeta.runs.export import export

    out = read(words.said, _options(export_options)).get("out")
    run = _opened(words, files, "export", data=False)
    export(run, None if out is None else expanded(out), say=_say)
    return 0


def _compare(words: Words, files: Files) -> int:
    if words.help:
        return _help_of(compare_options, "compare RUN RUN ... [--episodes 1000]")
    from jaxmeta.runs.cache import enable_cache
    from jaxmeta.runs.comparison import compare

    said = read(words.said, _options(compare_options))
    runs = _runs(words)
    if len(runs) < 2:
        got = " ".join(words.names) or "nothing"
        raise ConfigError("runs", got, "two run folders or more")
    enable_cache()
    compare(runs, **said, files=files, say=_say)
    return 0


def _list(words: Words, files: Files) -> int:
    if words.help:
        print("usage: jaxmeta list\n\nShows recipes, learners, networks and data sets.")
        return 0
    if words.names or words.said:
        got = " ".join([*words.names, *words.said])
        raise ConfigError("list", got, "nothing after it")
    from jaxmeta.recipes.listing import tables

    found = tables()
    width = max(len(name) for table in found.values() for name in table)
    for title, table in found.items():
        print(title)
        for name, summary in table.items():
            print(f"  {name:<{width}}  {summary}")
    return 0


def _new(words: Words, files: Files) -> int:
    if words.help or len(words.names) != 1 or words.said:
        if not words.help:
            got = " ".join([*words.names, *words.said]) or "nothing"
            raise ConfigError("new", got, "a file to write: jaxmeta new FILE.py")
        print("usage: jaxmeta new FILE.py\n\nWrites a short file that runs as it is.")
        return 0
    from jaxmeta.recipes.starter import write_starter

    path = write_starter(expanded(words.names[0]))
    print(f"{path}: written; jaxmeta train {path}:mine")
    return 0


COMMANDS: dict[str, Callable[[Words, Files], int]] = {
    "train": _train,
    "evaluate": _evaluate,
    "adapt": _adapt,
    "embed": _embed,
    "fit": _fit,
    "compare": _compare,
    "export": _export,
    "list": _list,
    "new": _new,
}
"""Every command by its word."""

COMPUTES = frozenset({"train", "evaluate", "adapt", "embed", "fit", "compare"})
"""Those of them that run programs on arrays."""


def _runs(words: Words) -> list[Path]:
    """The run folders that a command names; its files of Python are beside them."""
    return [expanded(name) for name in words.names if ".py:" not in name]


def _run(words: Words, command: str) -> Path:
    runs = _runs(words)
    if len(runs) != 1:
        got = " ".join(map(str, runs)) or "nothing"
        raise ConfigError("run", got, f"a run folder: jaxmeta {command} RUN ...")
    return runs[0]


def _say(line: str) -> None:
    print(line, flush=True)


def note(line: str) -> None:
    """A line beside the output, on stderr."""
    print(f"jaxmeta: {line}", file=sys.stderr)


def fail(message: object, status: int) -> int:
    """One line on what went wrong, and the status that the command ends with."""
    note(one_line(message))
    return status
