"""Arguments that cannot be used, refused in one grammar before anything compiles.

    steps: got 0, wants an integer >= 1

Each check names the argument, what it got and what it wants. A traced value cannot be
looked at and passes: a learner may be built inside `jit`, with a rate that is mapped.
"""

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jax.core import Tracer


def at_least(low: int, /, **integers: Any) -> None:
    """Refuses what is no integer >= `low`; so are `True` and 2.0.

    Args:
      low: the smallest that will do.
      **integers: name -> value.

    Raises:
      ValueError: the first that will not do.

    >>> at_least(1, steps=5, shots=0)
    Traceback (most recent call last):
    ValueError: shots: got 0, wants an integer >= 1
    """
    _check(integers, lambda x: _integer(x) >= low, f"an integer >= {low}")


def all_at_least(low: int, /, **sequences: Sequence[Any]) -> None:
    """Refuses what is not one or more integers >= `low`, such as widths of layers.

    >>> all_at_least(1, hidden=(64, 0))
    Traceback (most recent call last):
    ValueError: hidden: got (64, 0), wants one or more integers >= 1
    """

    def fits(values):
        found = [_traced(x) or _integer(x) >= low for x in values]
        return bool(found) and all(found)

    _check(sequences, fits, f"one or more integers >= {low}")


def positive(**numbers: Any) -> None:
    """Refuses what is no number > 0; NaN is none.

    >>> positive(lam=-1.0)
    Traceback (most recent call last):
    ValueError: lam: got -1.0, wants a positive number
    """
    _check(numbers, lambda x: x > 0, "a positive number")


def not_negative(**numbers: Any) -> None:
    """Refuses what is no number >= 0; NaN is none.

    >>> not_negative(damping=float("nan"))
    Traceback (most recent call last):
    ValueError: damping: got nan, wants a number >= 0
    """
    _check(numbers, lambda x: x >= 0, "a number >= 0")


def within(interval: str, /, **numbers: Any) -> None:
    """Refuses what is no number in an interval, written as in mathematics.

    Args:
      interval: "[0, 1]" with both ends, "(0, 1)" without, "[0, 1)" with the first.
      **numbers: name -> value.

    Raises:
      ValueError: the first that is outside.

    >>> within("[0, 1)", momentum=1.0)
    Traceback (most recent call last):
    ValueError: momentum: got 1.0, wants a number in [0, 1)
    """
    low, high = map(float, interval[1:-1].split(","))
    above = operator.ge if interval[0] == "[" else operator.gt
    below = operator.le if interval[-1] == "]" else operator.lt

    def fits(x):
        return above(x, low) and below(x, high)

    _check(numbers, fits, f"a number in {interval}")


def one_of(choices: Iterable[Any], /, **values: Any) -> None:
    """Refuses what is none of the choices.

    >>> one_of(("batch", "layer"), norm="bach")
    Traceback (most recent call last):
    ValueError: norm: got 'bach', wants "batch" or "layer"
    """
    choices = tuple(choices)
    shown = [f'"{c}"' if isinstance(c, str) else str(c) for c in choices]
    wants = " or ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    _check(values, lambda x: any(type(x) is type(c) and x == c for c in choices), wants)


def refusal(field: str, got: Any, wants: str, error: type = ValueError) -> Exception:
    """The error for a check of one's own, to be raised: the same grammar.

    >>> raise refusal("ways", 7, "at most 5, the number of classes")
    Traceback (most recent call last):
    ValueError: ways: got 7, wants at most 5, the number of classes
    """
    return error(f"{field}: got {got}, wants {wants}")


def _check(values: dict[str, Any], fits: Callable[[Any], Any], wants: str) -> None:
    for name, value in values.items():
        if _traced(value):
            continue
        try:
            good = bool(fits(value))
        except (TypeError, ValueError):  # text, `None`, an array of several numbers
            good = False
        if not good:
            shown = repr(value) if isinstance(value, str) else value
            raise refusal(name, shown, wants)


def _traced(value: Any) -> bool:
    return isinstance(value, Tracer)


def _integer(value: Any) -> float:
    """The integer that a value is; NaN, which no bound admits, for what is none."""
    return math.nan if isinstance(value, bool) else operator.index(value)
