"""Types of options: which ones a command line can give, in words, and whether a value fits."""

import types
import typing
from pathlib import Path
from typing import Any

from jaxmeta.runs.errors import ConfigError

_PLAIN = (int, float, bool, str, Path)


def plain(kind: Any) -> bool:
    """Whether a command line can give a value of this type."""
    if kind in _PLAIN or kind is type(None):
        return True
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return True
    if origin in (typing.Union, types.UnionType):
        return all(map(plain, args))
    return origin in (tuple, list) and all(a is Ellipsis or plain(a) for a in args)


def plain_part(kind: Any) -> Any:
    """Of a union, what a command line can give: `int | None` of `int | Array | None`."""
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    parts = tuple(arg for arg in typing.get_args(kind) if plain(arg))
    if set(parts) <= {type(None)}:
        return kind
    return typing.Union[parts]  # noqa: UP007


def describe(kind: object) -> str:
    """A type in words: `"an integer"`, `"one of second, first"`."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, args))}"
    if type(None) in args:
        rest = [describe(a) for a in args if a is not type(None)]
        return " or ".join([*rest, "None"])
    if origin in (tuple, list):
        return f"{describe(args[0])}s".replace("an integers", "integers").replace(
            "a numbers", "numbers"
        )
    names = {
        int: "an integer", float: "a number", bool: "True or False",
        str: "text", Path: "a path",
    }  # fmt: skip
    return names.get(kind, str(kind))  # type: ignore[call-overload]


def check_type(name: str, value: object, kind: object) -> None:
    """Raises a `ConfigError` where a value is not of the type of its option."""
    if not _fits(value, kind):
        raise ConfigError(name, repr(value), describe(kind))


def _fits(value: object, kind: object) -> bool:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return value in args
    if origin in (tuple, list):
        fixed = Ellipsis not in args and origin is tuple
        if not isinstance(value, (tuple, list)) or (fixed and len(value) != len(args)):
            return False
        kinds = args if fixed else (args[0],) * len(value)
        return all(map(_fits, value, kinds))
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if kind is type(None):
        return value is None
    if kind in (int, float) and isinstance(value, bool):
        return False  # True is an int to Python, and no number of shots to anyone
    if kind is Path:
        return isinstance(value, (str, Path))
    return isinstance(value, (int, float) if kind is float else kind)  # type: ignore
