"""Checks shared by the builders of this room, made before anything compiles."""

import operator


def at_least_one(**numbers: int) -> None:
    """Raises `ValueError`, naming the argument, unless all are integers >= 1."""
    for name, value in numbers.items():
        try:
            fits = operator.index(value) >= 1 and not isinstance(value, bool)
        except TypeError:
            fits = False
        if not fits:
            raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
