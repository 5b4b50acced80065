"""Functions with the signature of another: typed, and listed once."""

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def signature_of(
    other: Callable[P, Any],
) -> Callable[[Callable[..., R]], Callable[P, R]]:
    """Gives a function the parameters of another, to type checkers and to `inspect`.

    A builder that hands all of its options on need not list them a second time.

    >>> def process(model, *, steps: int = 5): ...
    >>> @signature_of(process)
    ... def learner(*args, **options) -> int: ...
    >>> inspect.signature(learner)
    <Signature (model, *, steps: int = 5) -> int>
    """

    def decorate(function):
        returns = inspect.signature(function).return_annotation
        signature = inspect.signature(other).replace(return_annotation=returns)
        function.__signature__ = signature
        return function

    return decorate
