"""What docstrings say to `--help`: a summary, a paragraph, a sentence an argument."""

import inspect
import re
import textwrap
from collections.abc import Callable
from functools import partial


def help_of(function: Callable) -> dict[str, str]:
    """Argument -> its sentence, from the `Args:` of a docstring.

    >>> def f(*, ways=5):
    ...     '''Does it.
    ...
    ...     Args:
    ...       ways: classes in a task,
    ...         two or more.
    ...     '''
    >>> help_of(f)
    {'ways': 'classes in a task, two or more.'}
    """
    text = inspect.getdoc(unbound(function)) or ""
    block = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)*)", text, re.MULTILINE)
    found: dict[str, str] = {}
    name = None
    for line in textwrap.dedent(block.group(1)).splitlines() if block else ():
        start = re.match(r"(\w+)(?: \([^)]*\))?: (.*)", line)
        if start:
            name = start.group(1)
            found[name] = start.group(2).strip()
        elif name and line.startswith(" "):
            found[name] += " " + line.strip()
    return found


def unbound(function: Callable) -> Callable:
    """A function without the arguments that `partial` has given it."""
    while isinstance(function, partial):
        function = function.func
    return function


def summary_of(function: Callable) -> str:
    """The first line of a function's docstring."""
    return (inspect.getdoc(unbound(function)) or "").split("\n", 1)[0]


def notes_of(function: Callable) -> str:
    """What a docstring says between its summary and its arguments."""
    text = (inspect.getdoc(unbound(function)) or "").partition("\n\n")[2]
    return re.split(r"^(?:Args|Returns):", text, maxsplit=1, flags=re.MULTILINE)[
        0
    ].strip()
