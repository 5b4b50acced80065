"""Functions that are built alike: two learners of the same builder and the same options.

A learner is four closures, and Python takes any two closures for different. What they
are made of tells more: their code, and what they closed over.
"""

import functools
import types
import weakref
from collections.abc import Callable, Hashable
from typing import Any


def form(x: Any) -> Hashable:
    """What a value is made of: equal for functions that are built alike.

    Functions are their code and, each in turn, the values in their closure and defaults;
    so are the containers that they closed over. An object may say what it is made of, by
    a method `made_of() -> tuple`. What has no value of its own to compare, an array say,
    is itself: a form is good for as long as what it was made of lives.

    Args:
      x: a function, a record of functions, or anything.

    Returns:
      A hashable value.

    >>> build = lambda rate: (lambda x: rate * x)
    >>> form(build(0.1)) == form(build(0.1)), form(build(0.1)) == form(build(0.2))
    (True, False)
    """
    return _form(x, ())


def _form(x: Any, outer: tuple[int, ...]) -> Hashable:
    if id(x) in outer:  # a function that closed over itself
        return ("again", outer[::-1].index(id(x)))
    inside = (*outer, id(x))

    def each(values):
        return tuple(_form(value, inside) for value in values)

    if hasattr(type(x), "made_of"):  # an object that says it: not its caches
        return (type(x), *each(x.made_of()))
    if isinstance(x, types.FunctionType):
        cells = each(map(_contents, x.__closure__ or ()))
        named = tuple(
            sorted((x.__kwdefaults__ or {}).items(), key=lambda item: item[0])
        )
        defaults = each(x.__defaults__ or ()), each(value for _, value in named)
        return ("function", x.__code__, id(x.__globals__), cells, defaults)
    if isinstance(x, types.MethodType):
        return ("method", *each((x.__func__, x.__self__)))
    if isinstance(x, functools.partial):
        return (type(x), *each((x.func, x.args, x.keywords)))
    if isinstance(x, list | tuple):
        return (type(x), *each(x))
    if isinstance(x, dict):
        return (type(x), each(x.keys()), each(x.values()))
    try:
        hash(x)
    except TypeError:
        return ("object", id(x))
    return (type(x), x)


def _contents(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return None


class Shared:
    """What is made once for all owners that are built alike, while one of them lives.

    >>> made = Shared()
    >>> owner = lambda: 1
    >>> made.of(owner, (), set) is made.of(owner, (), set)
    True
    """

    def __init__(self):
        self._alive = weakref.WeakValueDictionary()
        # on the owner itself: gone with it, whatever refers to it
        self._name = f"_shared_{id(self)}"

    def of(self, owner: Callable, more: Any, make: Callable[[], Any]) -> Any:
        """The thing of `owner` and of `more`, made where there is none yet.

        Args:
          owner: a function; it keeps the thing alive.
          more: what else makes a difference.
          make: called with nothing; what it returns must allow weak references.

        Returns:
          What `make` returned, now or before.
        """
        key = form((owner, more))
        thing = self._alive.get(key)
        if thing is None:
            thing = make()
            self._alive[key] = thing
        owner.__dict__.setdefault(self._name, {})[key] = thing
        return thing
