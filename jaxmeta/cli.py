"""The command line: `jaxmeta train | evaluate | adapt | embed | fit | compare | ...`.

Whatever is wrong with the input ends in exit status 2 and one line on stderr: which
field, what it got, what it wants. What is wrong in the user's own file is shown as Python
shows it. JAX is not touched before the input has been read.
"""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxmeta.runs.errors import ConfigError, RunError, did_you_mean, one_line
from jaxmeta.runs.large_pages import restart_with_large_pages
from jaxmeta.runs.options import REQUIRED, Option, own_options
from jaxmeta.runs.own_errors import in_their_words
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
from jaxmeta.runs.words import Words, read, show, split

HELP = """\
jaxmeta: learn from many tasks, so that a new one needs a handful of examples.

  jaxmeta train [RECIPE] [--option value ...]   train, test, and write a report
  jaxmeta train FILE.py:FUNCTION ...            your own learner, network or data
  jaxmeta train RUN                             go on with a run that was stopped
  jaxmeta train --fork RUN [--option value ...] another run that starts where RUN is
  jaxmeta evaluate RUN [--episodes 10000] [--ways 20 --shots 5]
  jaxmeta adapt RUN --support DIR --query DIR   classify your own files
  jaxmeta adapt ... --reject [--strangers DIR]  "none of these", where it is so
  jaxmeta adapt --backbone FILE --support DIR --query DIR   photographs, no training
  jaxmeta embed --backbone FILE --data DIR --out FILE.npz   their features
  jaxmeta fit TABLE.csv --target COLUMN         a table: predictions and a report
  jaxmeta compare RUN RUN ...                   the same episodes, in pairs; a page
  jaxmeta export RUN [--out DIR]                parameters and program, for elsewhere
  jaxmeta list                                  recipes, learners, data sets
  jaxmeta new FILE.py                           a file of your own to start from

Without a recipe, train runs glyphs-protonet-5w1s: no download, about a minute.
`jaxmeta train RECIPE --help` shows its options. A run of FILE.py:FUNCTION is evaluated,
adapted, compared, exported with the same FILE.py:FUNCTION after the run.
"""


def run() -> int:
    """The command `jaxmeta`: `main`, and what computes has its memory in large pages."""
    if set(sys.argv[1:2]) & COMPUTES and not {"-h", "--help"} & set(sys.argv):
        restart_with_large_pages()
    return main()


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      argv: the words after `jaxmeta`; those of the process by default.

    Returns:
      The exit status: 0, 1 for a run that failed, 2 for bad input, 130 or 143 for a run
      that was stopped by Ctrl-C or SIGTERM and has saved its state.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    files = Files()
    try:
        if words[0] not in COMMANDS:
            hint = did_you_mean(words[0], COMMANDS)
            raise ConfigError("command", repr(words[0]), f"{', '.join(COMMANDS)}{hint}")
        parts = split(words[1:])
        files.named += [
            word
            for word in (*parts.names, *(w for ws in parts.said.values() for w in ws))
            if ".py:" in word
        ]
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return COMMANDS[words[0]](parts, files)
    except ConfigError as error:
        if error.__cause__ is not None and in_their_words(error.__cause__, files):
            return 1  # it is about what the user's own file raised
        return _fail(error, 2)
    except RunError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except BrokenPipeError:
        # Who reads stdout has had enough (`| head`); there is nothing left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not in_their_words(error, files):
            raise
        return 1


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
        return _fail(stopped, stopped.status)
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

    names = [n for n in words.names if ".py:" not in n]
    if len(names) != 1:
        got = " ".join(names) or "nothing"
        raise ConfigError("run", got, f"a run folder: jaxmeta {command} RUN ...")
    options = {} if moved is None else {"data": moved}
    try:
        return load(_path(names[0]), files=files, data=data, options=options)
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

    names = [n for n in words.names if ".py:" not in n]
    if len(names) != 1:
        raise ConfigError("run", " ".join(names) or "nothing", "a run folder")
    own = _options(evaluate_options)
    options = reopened(_path(names[0]), choices_of(words), files)
    said = read(words.said, {**options, **own})
    episodes = said.pop("episodes", own["episodes"].default)
    if episodes < 2:
        raise ConfigError("episodes", episodes, "an integer >= 2")
    enable_cache()
    evaluate(_path(names[0]), episodes=episodes, options=said, files=files, say=_say)
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
    support, query = (_path(said.pop(name)) for name in ("support", "query"))
    if "strangers" in said:
        said["strangers"] = _path(said["strangers"])
    said["out"] = _path(said.get("out", _options(adapt_options)["out"].default))
    as_json = said.pop("json", False)
    adapt(
        run,
        support,
        query,
        **said,
        reject=reject,
        as_json=as_json,
        say=_say,
        note=_note,
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
    file, pictures = _path(said.pop("backbone")), said.pop("pictures")
    return load_backbone(file, pictures=pictures), said


def _adapt_photographs(words: Words) -> int:
    backbone, said = _photographs(words, photograph_options, "adapt")
    from jaxmeta.data.photographs import bar
    from jaxmeta.runs.photographs import adapt_photographs

    if "score" in words.said and not said["reject"]:
        raise ConfigError("score", said["score"], "--reject beside it")
    folders = [_path(said.pop(name)) for name in ("support", "query")]
    if said["strangers"] is not None:
        said["strangers"] = _path(said["strangers"])
    said["out"] = _path(said["out"])
    text = not said.pop("json")
    adapt_photographs(
        backbone, *folders, **said, as_text=text, say=_say, note=_note, progress=bar
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

    where = [_path(said.pop(name)) for name in ("data", "out")]
    embed_photographs(backbone, *where, **said, note=_note, progress=bar)
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
    said |= {k: _path(said[k]) for k in ("predict", "out") if said.get(k)}
    fit_table(_path(words.names[0]), **said, say=_say)
    return 0


def _export(words: Words, files: Files) -> int:
    if words.help:
        return _help_of(export_options, "export RUN [--out DIR]")
    from jaxmeta.runs.export import export

    out = read(words.said, _options(export_options)).get("out")
    run = _opened(words, files, "export", data=False)
    export(run, None if out is None else _path(out), say=_say)
    return 0


def _compare(words: Words, files: Files) -> int:
    if words.help:
        return _help_of(compare_options, "compare RUN RUN ... [--episodes 1000]")
    from jaxmeta.runs.cache import enable_cache
    from jaxmeta.runs.comparison import compare

    said = read(words.said, _options(compare_options))
    runs = [_path(n) for n in words.names if ".py:" not in n]
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

    path = write_starter(_path(words.names[0]))
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


def _path(name: str) -> Path:
    return Path(name).expanduser()


def _say(line: str) -> None:
    print(line, flush=True)


def _note(line: str) -> None:
    print(f"jaxmeta: {line}", file=sys.stderr)


def _fail(message: object, status: int) -> int:
    _note(one_line(message))
    return status


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    _note(f"warning: {one_line(message)}")
