"""Doctests of docstrings become blocks of code, wherever in a docstring they stand."""

import re
from typing import Any

import griffe

BLOCK = re.compile(r"^([ \t]*)>>> .*(?:\n(?![ \t]*$).*)*", re.M)


def fenced(text: str) -> str:
    """The same text, with a fence around each run of lines from `>>>` to an empty one.

    >>> print(fenced("Adds.\\n\\n>>> 1 + 1\\n2"))
    Adds.
    <BLANKLINE>
    ```pycon
    >>> 1 + 1
    2
    ```
    """
    return BLOCK.sub(r"\1```pycon\n\g<0>\n\1```", text)


class Fences(griffe.Extension):
    """Does so for every object that is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Before its docstring is parsed."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)
