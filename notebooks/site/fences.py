"""Doctests of docstrings become blocks of code, wherever in a docstring they stand."""

from typing import Any

import griffe

from notebooks.site.pages import fenced


class Fences(griffe.Extension):
    """Does so for every object that is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Before its docstring is parsed."""
        if obj.docstring:
            obj.docstring.value = fenced(obj.docstring.value)
