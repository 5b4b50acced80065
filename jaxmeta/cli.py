"""The command line: `jaxmeta train | evaluate | adapt | list`.

Whatever is wrong with the input ends in exit status 2 and one line on stderr: which
field, what it got, what it wants. JAX is not touched before the input has been read.
"""

import dataclasses
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from jaxmeta.runs.check import check, find_recipe
from jaxmeta.runs.errors import ConfigError, RunError, did_you_mean, one_line
from jaxmeta.runs.folder import read_config
from jaxmeta.runs.options import parse, value_of
from jaxmeta.runs.recipes import DEFAULT, RECIPES, Recipe

HELP = f"""\
jaxmeta: learn from many tasks, so that a new one needs a handful of examples.

  jaxmeta train [RECIPE] [--field value ...]   train and test a recipe
  jaxmeta train RUN                            go on with a run that was stopped
  jaxmeta train --fork RUN [--field value ...] another run that starts where RUN is
  jaxmeta evaluate RUN [--episodes 10000]      test a trained run again
  jaxmeta adapt RUN --support DIR --query DIR  classify your own images
  jaxmeta export RUN [--out DIR]               parameters and program, for elsewhere
  jaxmeta list                                 recipes, learners, data sets

Without a recipe, train runs {DEFAULT}: no download, about a minute.
`jaxmeta train RECIPE --help` shows every field and its value in that recipe.
"""


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Test a trained run on more episodes of its test classes.

    The first of them are those of the run's own test; all runs see the same ones.
    """

    episodes: int = 10_000
    """Test episodes; the interval narrows with the square root of their number."""
    data: str | None = None
    """Folder with the data, if it has moved since the run was trained."""


@dataclasses.dataclass(frozen=True)
class Adapt:
    """Classify images by a few examples of each class.

    Writes a line for each query image: path, class, probability, with tabs between. If
    the query images lie in folders named like the classes, the accuracy follows on
    stderr.
    """

    support: str | None = None
    """Folder with the examples: <class>/*.png or .jpg."""
    query: str | None = None
    """Folder with the images to classify: *.png, or <class>/*.png."""
    invert: bool | None = None
    """Turn dark on light into light on dark. None: as in training, for a run on a folder;
    else by looking: ink is what covers less of the support images."""
    json: bool = False
    """Write one JSON object instead: all probabilities, and what was done to the images."""


@dataclasses.dataclass(frozen=True)
class Export:
    """Write a trained run as files that other programs can use.

    parameters.safetensors, predict.stablehlo (adapt and predict, by jax.export) and
    export.json, which says what the program takes.
    """

    out: str | None = None
    """Folder to write to; None: exported/ in the run folder."""


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
    commands = {
        "train": _train,
        "evaluate": _evaluate,
        "adapt": _adapt,
        "export": _export,
        "list": _list,
    }
    try:
        if words[0] not in commands:
            hint = did_you_mean(words[0], commands)
            raise ConfigError("command", repr(words[0]), f"{', '.join(commands)}{hint}")
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return commands[words[0]](words[1:])
    except ConfigError as error:
        return _fail(error, 2)
    except RunError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    except BrokenPipeError:
        # Who reads stdout has had enough (`| head`); there is nothing left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _train(words: list[str]) -> int:
    named = bool(words) and not words[0].startswith("-")
    name = words.pop(0) if named else DEFAULT
    fork = value_of("--fork", words)
    if name not in RECIPES and (Path(name).expanduser() / "config.json").is_file():
        recipe = dataclasses.replace(read_config(_run_path(name)), out=name)
    elif fork is not None and not named:
        recipe = dataclasses.replace(read_config(_run_path(fork)), out=None)
    else:
        recipe = find_recipe(name)
    recipe = parse(Recipe, words, recipe, f"jaxmeta train {name}")
    if recipe is None:
        return 0
    check(recipe)
    from jaxmeta.runs.cache import enable_cache
    from jaxmeta.runs.devices import prepare
    from jaxmeta.runs.stop import Interrupted
    from jaxmeta.runs.train import train

    enable_cache()
    prepare(recipe)
    try:
        train(recipe, say=_say)
    except Interrupted as stopped:
        return _fail(stopped, stopped.status)
    return 0


def _evaluate(words: list[str]) -> int:
    run = _take_run(words, "evaluate")
    args = parse(Evaluate, words, Evaluate(), "jaxmeta evaluate RUN")
    if args is None:
        return 0
    if args.episodes < 2:
        raise ConfigError("episodes", args.episodes, "an integer >= 2")
    from jaxmeta.runs.cache import enable_cache
    from jaxmeta.runs.evaluate import evaluate

    enable_cache()
    evaluate(_run_path(run), args.episodes, args.data, say=_say)
    return 0


def _adapt(words: list[str]) -> int:
    run = _take_run(words, "adapt")
    if "--json" in words:  # alone it is enough
        at = words.index("--json") + 1
        words[at:at] = [] if words[at : at + 1] in (["True"], ["False"]) else ["True"]
    args = parse(Adapt, words, Adapt(), "jaxmeta adapt RUN")
    if args is None:
        return 0
    for field in ("support", "query"):
        if getattr(args, field) is None:
            raise ConfigError(field, "nothing", "a folder with images")
    from jaxmeta.runs.adapt import adapt
    from jaxmeta.runs.cache import enable_cache

    enable_cache()
    support, query = Path(args.support), Path(args.query)  # type: ignore[arg-type]
    adapt(
        _run_path(run), support, query, args.invert,
        as_json=args.json, say=_say, note=_note,
    )  # fmt: skip
    return 0


def _export(words: list[str]) -> int:
    run = _take_run(words, "export")
    args = parse(Export, words, Export(), "jaxmeta export RUN")
    if args is None:
        return 0
    from jaxmeta.runs.export import export

    out = None if args.out is None else Path(args.out).expanduser()
    export(_run_path(run), out, say=_say)
    return 0


def _list(words: list[str]) -> int:
    if words and words[0] in ("-h", "--help"):
        print("usage: jaxmeta list\n\nShows recipes, learners and data sets.")
        return 0
    if words:
        raise ConfigError("list", repr(words[0]), "nothing after it")
    from jaxmeta.runs.build import METHODS
    from jaxmeta.runs.sources import SOURCES

    tables = {"recipes": RECIPES, "learners": METHODS, "data sets": SOURCES}
    width = max(len(name) for table in tables.values() for name in table)
    for title, table in tables.items():
        print(title)
        for name, row in table.items():
            mark = "  (default)" if name == DEFAULT else ""
            print(f"  {name:<{width}}  {row.summary}{mark}")
    return 0


def _take_run(words: list[str], command: str) -> str:
    if words and not words[0].startswith("-"):
        return words.pop(0)
    if any(word in ("-h", "--help") for word in words):
        return ""
    raise ConfigError("run", "nothing", f"a run folder: jaxmeta {command} RUN ...")


def _run_path(run: str) -> Path:
    return Path(run).expanduser()


def _say(line: str) -> None:
    print(line, flush=True)


def _note(line: str) -> None:
    print(f"jaxmeta: {line}", file=sys.stderr)


def _fail(message: object, status: int) -> int:
    _note(one_line(message))
    return status


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    _note(f"warning: {one_line(message)}")
