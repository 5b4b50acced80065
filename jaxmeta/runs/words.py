"""The words of a command line: what is a name, what an option, and how a value reads."""

import contextlib
import io
import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jaxmeta.runs.errors import ConfigError, did_you_mean
from jaxmeta.runs.kinds import describe
from jaxmeta.runs.options import REQUIRED, Option


class Words(NamedTuple):
    """A command line, taken apart.

    Attributes:
      names: what comes before the first option, and FILE.py:FUNCTION wherever it is but
        right behind an option, whose value it is there.
      said: option -> its words, in the order in which they came.
      help: whether help is all that is wanted.
    """

    names: list[str]
    said: dict[str, list[str]]
    help: bool


def split(words: Iterable[str]) -> Words:
    """`["maml", "--ways", "5"]` as the name maml and the option ways.

    >>> split(["run-1", "--ways", "5", "--json", "--out=x"])
    Words(names=['run-1'], said={'ways': ['5'], 'json': [], 'out': ['x']}, help=False)
    >>> split(["run-1", "--network", "a.py:net", "b.py:mine"])
    Words(names=['run-1', 'b.py:mine'], said={'network': ['a.py:net']}, help=False)

    Raises:
      ConfigError: an option that comes twice.
    """
    names: list[str] = []
    said: dict[str, list[str]] = {}
    last: list[str] | None = None
    asks = False
    for word in words:
        if word in ("-h", "--help"):
            asks = True
        elif word.startswith("--") and len(word) > 2:
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            if name in said:
                raise ConfigError(name, "it twice", "each option once")
            last = said[name] = [value] if equals else []
        elif last is None or (last and ".py:" in word):
            names.append(word)
        else:
            last.append(word)
    return Words(names, said, asks)


def read(
    said: Mapping[str, list[str]], options: Mapping[str, Option]
) -> dict[str, Any]:
    """The values of the options that were given, by tyro.

    Raises:
      ConfigError: an option that is not there, or a value of another type.
    """
    values = {}
    for name, words in said.items():
        if name not in options:
            hint = did_you_mean(name, options)
            known = (
                f"an option that exists{hint}; the same command with --help shows them"
            )
            raise ConfigError(f"--{name.replace('_', '-')}", "an unknown option", known)
        kind = options[name].kind
        if kind is bool and not words:
            words = ["True"]  # a switch that is named is on
        values[name] = _value(name, words, kind)
    return values


def _value(name: str, words: list[str], kind: Any) -> Any:
    import tyro

    got = repr(" ".join(words)) if words else "nothing"
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # its boxes are not shown
            # a value that begins with a dash is no option here
            words = [w if not w.startswith("-") else f"-{w[1:]}" for w in words]
            value = tyro.cli(kind, args=["--", *words] if words else [], prog=name)
    except SystemExit:
        raise ConfigError(name, got, describe(kind)) from None
    return value


def show(options: Iterable[Option], *, width: int | None = None) -> str:
    """Options for `--help`: a line each, with the value that stands."""
    width = width or min(shutil.get_terminal_size((100, 20)).columns, 120)
    lines = []
    for option in options:
        default = "" if option.default is REQUIRED else f" {_word(option.default)}"
        left = f"  --{option.name.replace('_', '-')}{default}"
        text = option.help.split(". ")[0].rstrip(".")
        room = max(width - 34, 30)
        text = textwrap.shorten(text, room, placeholder=" ...")
        lines.append(f"{left:<32}  {text}".rstrip())
    return "\n".join(lines)


def _word(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " ".join(map(str, value))
    return repr(value) if value == "" else str(value)
