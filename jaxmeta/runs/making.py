"""Recipe and options -> experiment."""

import inspect
import re
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from jaxmeta.data import DataError
from jaxmeta.runs.errors import ConfigError, did_you_mean, one_line
from jaxmeta.runs.experiment import Experiment
from jaxmeta.runs.kinds import check_type
from jaxmeta.runs.options import Found, bind, find, no_files
from jaxmeta.runs.registry import Files, Recipe
from jaxmeta.runs.settings import OUTER, check_least

_GRAMMAR = re.compile(r"^([\w-]+): got (.*), wants (.*)$", re.DOTALL)
_unread: ContextVar[bool] = ContextVar("unread", default=False)


class Made(NamedTuple):
    """An experiment, and how it was made.

    Attributes:
      experiment: the value.
      recipe: where it is from.
      options: the value of every option, as plain JSON.
    """

    experiment: Experiment
    recipe: Recipe
    options: dict[str, Any]


@contextmanager
def without_data():
    """Recipes that can do without their data build tasks of the right shapes instead."""
    token = _unread.set(True)
    try:
        yield
    finally:
        _unread.reset(token)


def unread() -> bool:
    """Whether a recipe is being built `without_data`."""
    return _unread.get()


def options_of(recipe: Recipe, said: Mapping[str, Any], files: Files | None) -> Found:
    """All options of a recipe, given the choices among `said`."""
    resolve = no_files if files is None else files.resolve
    return find(recipe.function, said, resolve)


def make(
    recipe: Recipe, options: Mapping[str, Any], files: Files | None = None
) -> Made:
    """Calls a recipe with options.

    Args:
      recipe: what to call.
      options: flat, those of its parts among them.
      files: the files that options may name.

    Returns:
      `Made`.

    Raises:
      ConfigError: an option that is not there or does not fit, data that do not suffice,
        a function that returns something else than an `Experiment`.
    """
    found = options_of(recipe, options, files)
    for name, value in options.items():
        if name not in found.options:
            hint = did_you_mean(name, found.options)
            raise ConfigError(
                name, "an unknown option", f"one that {recipe.name} has{hint}"
            )
        check_type(name, value, found.options[name].kind)
    if "package" in recipe.origin:
        for name in set(OUTER) & set(options):  # schedules are made of them
            check_least(name, options[name])
    arguments = bind(found, options)
    if "package" in recipe.origin:
        experiment = _in_our_words(recipe, arguments, options)
    else:
        _check_call(recipe.name, recipe.function, arguments)
        experiment = recipe.function(**arguments)
    if not isinstance(experiment, Experiment):
        got = f"a function that returns {type(experiment).__name__}"
        raise ConfigError(recipe.name, got, "one that returns a jm.runs.Experiment")
    if "package" not in recipe.origin:
        _check_outer(recipe.name, arguments, experiment)
    if recipe.settings:
        both = {**experiment.defaults, **recipe.settings}
        experiment = experiment._replace(defaults=both)
    values = {n: options.get(n, o.default) for n, o in found.options.items()}
    return Made(experiment, recipe, {n: _json(v, files) for n, v in values.items()})


def _check_call(name: str, function: Callable, arguments: Mapping[str, Any]) -> None:
    """Refuses a function that wants more than a command line gives.

    Raises:
      ConfigError: it has arguments that are not keyword-only, without a default.
    """
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        wants = "one whose arguments are options: keyword-only, behind a *"
        raise ConfigError(
            name, f"a function that cannot be called so: {error}", wants
        ) from None


def _check_outer(name: str, arguments: Mapping[str, Any], experiment) -> None:
    """An own option hides the run's of that name: whoever types it may mean the other."""
    for outer in set(OUTER) & set(arguments):
        if arguments[outer] != getattr(experiment, outer):
            warnings.warn(
                f"--{outer} {arguments[outer]} is an option of {name} itself, and the run "
                f"has {outer} = {getattr(experiment, outer)}; pass it to jm.runs.Experiment, "
                "or give it another name",
                stacklevel=2,
            )


def _in_our_words(recipe: Recipe, arguments, options: Mapping[str, Any]) -> Experiment:
    """Calls a recipe of the package; what a builder objects to is about an option."""
    try:
        return recipe.function(**arguments)
    except (ConfigError, TypeError):
        raise
    except (DataError, OSError) as error:
        got = options.get("data", "nothing")
        raise ConfigError("data", got, f"a readable data set: {error}") from error
    except ValueError as error:
        parts = _GRAMMAR.match(one_line(error))
        if parts is None:
            raise ConfigError("recipe", recipe.name, f"a fit: {error}") from error
        raise ConfigError(*parts.groups()) from error


def _json(value: Any, files: Files | None) -> Any:
    if isinstance(value, (tuple, list)):
        return list(value)
    if isinstance(value, str) and files is not None and value in files.named:
        return files.reference(value)
    return str(value) if isinstance(value, Path) else value


def from_json(values: Mapping[str, Any], files: Files) -> dict[str, Any]:
    """The options of a run folder as they are given to `make`."""

    def back(value):
        if isinstance(value, dict):
            return files.named_as(value)
        return tuple(value) if isinstance(value, list) else value

    return {name: back(value) for name, value in values.items()}
