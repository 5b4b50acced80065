"""`--field value ...` to a dataclass, by tyro, with errors in one line."""

import contextlib
import io
import itertools
from typing import TypeVar

import tyro

from jaxmeta.runs.check import describe, hints_of
from jaxmeta.runs.errors import ConfigError, did_you_mean

T = TypeVar("T")


def parse(kind: type[T], words: list[str], default: T, prog: str) -> T | None:
    """Reads `--field value ...` into a dataclass, by tyro.

    Args:
      kind: the dataclass.
      words: the words of the command line.
      default: a value for each field that is not named.
      prog: for the usage line.

    Returns:
      The value, or `None` if all that was wanted is help, which has been printed.

    Raises:
      ConfigError: for the first option that cannot be read.
    """
    if any(word in ("-h", "--help") for word in words):
        _tyro(kind, ["--help"], default, prog, quiet=False)
        return None
    hints = hints_of(kind)
    options = _split(words, hints)
    value = _tyro(kind, words, default, prog)
    if value is not None:
        return value
    for field, option in options:  # which one was it?
        if _tyro(kind, option, default, prog) is None:
            got = repr(" ".join(option[1:])) if option[1:] else "nothing"
            if "=" in option[0]:
                got = repr(option[0].split("=", 1)[1])
            raise ConfigError(field, got, describe(hints[field]))
    raise ConfigError("options", repr(" ".join(words)), "each --field once")


def _split(words: list[str], hints: dict[str, object]) -> list[tuple[str, list[str]]]:
    """`--ways 5 --out x` as `[("ways", ["--ways", "5"]), ("out", ["--out", "x"])]`."""
    options: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            field = word[2:].split("=", 1)[0].replace("-", "_")
            if field not in hints:
                hint = did_you_mean(field, hints)
                known = f"a field that exists{hint}; --help shows them"
                raise ConfigError(f"--{field}", "an unknown field", known)
            options.append((field, [word]))
        elif options:
            options[-1][1].append(word)
        else:
            raise ConfigError("options", repr(word), "--field value")
    return options


def _tyro(
    kind: type[T], words: list[str], default: T, prog: str, quiet=True
) -> T | None:
    """Calls tyro; `None` where it would exit. Its boxed errors are not shown."""
    config = (tyro.conf.FlagConversionOff,)
    hush = contextlib.redirect_stderr if quiet else contextlib.nullcontext
    try:
        with hush(io.StringIO()):
            return tyro.cli(kind, args=words, default=default, prog=prog, config=config)
    except SystemExit:
        return None


def value_of(option: str, words: list[str]) -> str | None:
    """What follows an option, before the options are read for good."""
    for word, after in itertools.pairwise([*words, ""]):
        if word == option and after and not after.startswith("--"):
            return after
        if word.startswith(f"{option}="):
            return word.split("=", 1)[1]
    return None
