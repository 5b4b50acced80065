"""Recipes: functions that return experiments, found by a name or in a file of one's own.

Code is taken from the installed package, or from a file that the user names. What a run
folder says is a name in the first case, and a file's name with its SHA-256 in the second:
it is looked up, and nothing in the folder is ever run.
"""

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxmeta.data import DataError
from jaxmeta.runs.errors import ConfigError, did_you_mean, one_line
from jaxmeta.runs.experiment import Experiment
from jaxmeta.runs.options import (
    Found,
    Use,
    bind,
    check_type,
    find,
    no_files,
    summary_of,
    use,
)

RECIPES: dict[str, "Recipe"] = {}
"""The recipes that come with the package, by name; importing `jaxmeta.recipes` fills it."""

_GRAMMAR = re.compile(r"^([\w-]+): got (.*), wants (.*)$", re.DOTALL)
_unread: ContextVar[bool] = ContextVar("unread", default=False)


@dataclass(frozen=True)
class Recipe:
    """A function that returns an `Experiment`, with a name. Calling it calls the function.

    Attributes:
      name: what runs are called after.
      function: its keyword arguments are the options.
      summary: a line for `jaxmeta list`.
      origin: what a run folder says of it: `{"package": name}`, or `{"file": name,
        "function": name, "sha256": digest}`, or `{"python": name}`.
      defaults: see `Experiment.defaults`; these win over what the function says.
    """

    name: str
    function: Callable[..., Experiment]
    summary: str
    origin: dict[str, str]
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, **options: Any) -> Experiment:
        """The experiment, with these options; as on the command line they may be flat.

        Raises:
          ConfigError: an option that does not fit.
        """
        return make(self, options).experiment

    @property
    def __wrapped__(self) -> Callable[..., Experiment]:
        return self.function


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


def recipe(name: str) -> Callable[[Callable[..., Experiment]], Recipe]:
    """Registers a function of this package under a name."""

    def register(function: Callable[..., Experiment]) -> Recipe:
        return preset(name, function, summary_of(function))

    return register


def preset(
    name: str,
    base: Recipe | Callable[..., Experiment],
    summary: str,
    *,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    **options: Any,
) -> Recipe:
    """Registers a recipe with other defaults under a name of its own.

    Args:
      name: the name.
      base: what it is a variant of.
      summary: a line for `jaxmeta list`.
      defaults: of the run's settings, see `Experiment.defaults`; the base's hold, too.
      **options: other defaults of the recipe. `use` of the part that the base uses, too,
        keeps what else the base says of that part.
    """
    function = base
    if isinstance(base, Recipe):
        function, defaults = base.function, {**base.defaults, **defaults}
    before = function.keywords if isinstance(function, partial) else {}
    for option, value in options.items():
        old = before.get(option)
        if isinstance(value, Use) and isinstance(old, Use) and value.name == old.name:
            options[option] = use(value.name, **old.options | value.options)
    made = partial(function, **options) if options else function
    RECIPES[name] = Recipe(name, made, summary, {"package": name}, defaults)
    return RECIPES[name]


def known() -> Mapping[str, Recipe]:
    """The package's recipes, by name."""
    # The one look upwards: recipes register themselves, and who starts at `runs`, with a
    # run folder in hand, has not imported them.
    importlib.import_module("jaxmeta.recipes")
    return RECIPES


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


class Files:
    """The Python files that the user has named: the only ones that are ever opened.

    Args:
      names: FILE.py:FUNCTION, from the words of a command line.
    """

    def __init__(self, names: Iterable[str] = ()):
        self.named: list[str] = []
        self._modules: dict[Path, Any] = {}
        self._digests: dict[Path, str] = {}
        for name in names:
            self.add(name)

    @property
    def paths(self) -> list[str]:
        """Files that were opened: errors that come from them are the user's own."""
        return [str(path) for path in self._modules]

    def add(self, name: str) -> None:
        self.named.append(name)

    def resolve(self, name: str) -> Callable:
        """FILE.py:FUNCTION -> the function.

        Raises:
          ConfigError: no such file, no such function, or a file that was not named.
        """
        if name not in self.named:
            raise ConfigError("file", name, "a file that is named on this command line")
        file, _, function = name.rpartition(":")
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise ConfigError("file", file, "a Python file that is there")
        found = vars(self._load(path)).get(function)
        if not callable(found):
            own = [n for n, f in vars(self._load(path)).items() if _own(f, path)]
            hint = did_you_mean(function, own)
            raise ConfigError(
                "file",
                name,
                f"a function of it: {', '.join(own) or 'it has none'}{hint}",
            )
        return found

    def reference(self, name: str) -> dict[str, str]:
        """What a run folder says of FILE.py:FUNCTION."""
        file, _, function = name.rpartition(":")
        path = Path(file).expanduser().resolve()
        self._load(path)
        return {"file": path.name, "function": function, "sha256": self._digests[path]}

    def named_as(self, reference: Mapping[str, str]) -> str:
        """The FILE.py:FUNCTION, among those named, that a run folder refers to.

        Raises:
          ConfigError: the user has not named it.
        """
        file, function = str(reference.get("file")), str(reference.get("function"))
        for name in self.named:
            path, _, of = name.rpartition(":")
            if Path(path).name == file and of == function:
                return name
        wants = (
            f"the file that it was made with: add PATH/{file}:{function} to the command "
            "(no code is run because a run folder names it)"
        )
        raise ConfigError("file", "nothing", wants)

    def changed(self, reference: Mapping[str, str]) -> bool:
        """Whether the file is another one than when the run was made."""
        name = self.named_as(reference)
        return self.reference(name)["sha256"] != reference.get("sha256")

    def _load(self, path: Path) -> Any:
        if path not in self._modules:
            text = path.read_bytes()
            self._digests[path] = hashlib.sha256(text).hexdigest()
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            self._modules[path] = module
            sys.modules.setdefault(path.stem, module)  # for dataclasses in it
            sys.path.insert(0, str(path.parent))  # as Python does for a script
            try:
                spec.loader.exec_module(module)
            finally:
                sys.path.remove(str(path.parent))
        return self._modules[path]


def _own(value: object, path: Path) -> bool:
    return inspect.isfunction(value) and value.__code__.co_filename == str(path)


def named(word: str, files: Files) -> Recipe:
    """The recipe that a word of the command line names.

    Raises:
      ConfigError: there is none.
    """
    if ".py:" in word:
        files.add(word)
        function = files.resolve(word)
        origin = files.reference(word)
        return Recipe(origin["function"], function, summary_of(function), origin)
    if word.endswith(".py"):
        raise ConfigError(
            "recipe", word, f"{word}:FUNCTION, which returns an Experiment"
        )
    recipes = known()
    if word not in recipes:
        hint = did_you_mean(word, recipes)
        wants = f"one of {', '.join(recipes)}, FILE.py:FUNCTION, or a run folder{hint}"
        raise ConfigError("recipe", repr(word), wants)
    return recipes[word]


def of_reference(reference: Mapping[str, Any], files: Files) -> Recipe:
    """The recipe that a run folder refers to: looked up, never opened from there."""
    if "package" in reference:
        recipes = known()
        name = str(reference["package"])
        if name not in recipes:
            hint = did_you_mean(name, recipes)
            raise ConfigError("recipe", repr(name), f"a recipe of this version{hint}")
        return recipes[name]
    if "file" in reference:
        return named(files.named_as(reference), files)
    raise ConfigError(
        "recipe",
        "an experiment that was made in Python",
        "it as `experiment`, in Python",
    )


def options_of(recipe: Recipe, said: Mapping[str, Any], files: Files | None) -> Found:
    """All options of a recipe, given the choices among `said`."""
    resolve = no_files if files is None else files.resolve
    return find(recipe.function, said, resolve)


def make(
    recipe: Recipe, options: Mapping[str, Any], files: Files | None = None
) -> Made:
    """Calls a recipe with options.

    Raises:
      ConfigError: an option that is not there or does not fit, data that do not suffice.
      TypeError: a function that returns something else than an `Experiment`.
    """
    found = options_of(recipe, options, files)
    for name, value in options.items():
        if name not in found.options:
            hint = did_you_mean(name, found.options)
            raise ConfigError(name, "an unknown option", f"an option of it{hint}")
        check_type(name, value, found.options[name].kind)
    arguments = bind(found, options)
    if "package" in recipe.origin:
        experiment = _in_our_words(recipe, arguments)
    else:
        experiment = recipe.function(**arguments)
    if not isinstance(experiment, Experiment):
        raise TypeError(
            f"{recipe.name}: returned {type(experiment).__name__}, wants an Experiment"
        )
    if recipe.defaults:
        both = {**experiment.defaults, **recipe.defaults}
        experiment = experiment._replace(defaults=both)
    values = {n: options.get(n, o.default) for n, o in found.options.items()}
    return Made(experiment, recipe, {n: _json(v, files) for n, v in values.items()})


def _in_our_words(recipe: Recipe, arguments: dict[str, Any]) -> Experiment:
    """Calls a recipe of the package; what a builder objects to is about an option."""
    try:
        return recipe.function(**arguments)
    except (ConfigError, TypeError):
        raise
    except (DataError, OSError) as error:
        got = arguments.get("data", "")
        raise ConfigError("data", got, f"a readable data set: {error}") from error
    except ValueError as error:
        parts = _GRAMMAR.match(one_line(error))
        if parts is None:
            raise ConfigError("recipe", recipe.name, f"a fit: {error}") from error
        raise ConfigError(*parts.groups()) from error


def _json(value: Any, files: Files | None) -> Any:
    if isinstance(value, (tuple, list)):
        return list(value)
    if isinstance(value, str) and ".py:" in value and files and value in files.named:
        return files.reference(value)
    return str(value) if isinstance(value, Path) else value


def from_json(values: Mapping[str, Any], files: Files) -> dict[str, Any]:
    """The options of a run folder as they are given to `make`."""

    def back(value):
        if isinstance(value, dict):
            return files.named_as(value)
        return tuple(value) if isinstance(value, list) else value

    return {name: back(value) for name, value in values.items()}
