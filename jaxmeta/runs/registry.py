"""Recipes by name, and the Python files that a user has named. Imports nothing heavy.

Code is taken from the installed package, or from a file that the user names. What a run
folder says is a name in the first case, and a file's name with its SHA-256 in the second:
it is looked up, and nothing in the folder is ever run.
"""

import hashlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxmeta.runs.docstrings import summary_of
from jaxmeta.runs.errors import ConfigError, did_you_mean
from jaxmeta.runs.files import expanded
from jaxmeta.runs.options import Use

if TYPE_CHECKING:
    from jaxmeta.runs.experiment import Experiment

Function = Callable[..., "Experiment"]

RECIPES: dict[str, "Recipe"] = {}
"""The recipes that come with the package, by name: `jaxmeta.recipes` fills it."""


@dataclass(frozen=True)
class Recipe:
    """A function that returns an `Experiment`, with a name. Calling it calls the function.

    Attributes:
      name: what runs are called after.
      base: the function; or where it is, "room.module:function" of this package, so that
        a list of recipes imports none of them.
      defaults: its options, where they are others than the function's own.
      summary: a line for `jaxmeta list`.
      origin: what a run folder says of it: `{"package": name}`, or `{"file": name,
        "function": name, "sha256": digest}`, or `{"python": name}`.
      settings: of the run, see `Experiment.defaults`; these win over the function's.
    """

    name: str
    base: Function | str
    summary: str
    origin: dict[str, str]
    defaults: Mapping[str, Any]
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def function(self) -> Function:
        """The function, with the defaults of this recipe."""
        if isinstance(self.base, str):
            module, _, name = self.base.partition(":")
            found = getattr(importlib.import_module(module), name)
            base = found.function if isinstance(found, Recipe) else found
        else:
            base = self.base
        return partial(base, **self.defaults) if self.defaults else base

    def __call__(self, **options: Any) -> "Experiment":
        """The experiment, with these options; flat, as on the command line.

        Raises:
          ConfigError: an option that does not fit.
        """
        from jaxmeta.runs.making import make

        return make(self, options).experiment


def recipe(name: str) -> Callable[[Function], Recipe]:
    """Registers a function of this package under a name."""

    def register(function: Function) -> Recipe:
        origin = {"package": name}
        RECIPES[name] = Recipe(name, function, summary_of(function), origin, {})
        return RECIPES[name]

    return register


def preset(
    name: str,
    base: "str | Recipe",
    summary: str,
    *,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Recipe:
    """Registers a recipe with other defaults under a name of its own.

    Args:
      name: of the new one.
      base: where the function is: "jaxmeta.recipes.few_shot:few_shot"; or a preset that
        this one differs from.
      summary: a line for `jaxmeta list`.
      settings: other defaults of the run's settings: `{"episodes": 1000}`.
      **options: the new defaults; `use(...)` for what is chosen out of a table. Of the
        part that the base uses, what is not said stays as it is there.

    Returns:
      The recipe.
    """
    settings, function = settings or {}, base
    if isinstance(base, Recipe):
        options = {**base.defaults, **_merged(base.defaults, options)}
        function, settings = base.base, {**base.settings, **settings}
    origin = {"package": name}
    RECIPES[name] = Recipe(name, function, summary, origin, options, settings)
    return RECIPES[name]


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Of the same part, options that are not said again are kept."""

    def one(name, value):
        before = old.get(name)
        if not (isinstance(value, Use) and isinstance(before, Use)):
            return value
        if before.name != value.name:
            return value
        return value._replace(options=before.options | value.options)

    return {name: one(name, value) for name, value in new.items()}


def known(name: str | None = None) -> Mapping[str, Recipe]:
    """The package's recipes, by name.

    Args:
      name: the one that is looked for; where it is a preset, no other is imported.
    """
    # The one look upwards: recipes register themselves, and who starts at `runs`, with a
    # run folder in hand, has not imported them.
    importlib.import_module("jaxmeta.recipes.presets")
    if name not in RECIPES:
        room = importlib.import_module("jaxmeta.recipes")
        for module in pkgutil.iter_modules(room.__path__):
            importlib.import_module(f"{room.__name__}.{module.name}")
    return RECIPES


class Files:
    """The Python files that the user has named: the only ones that are ever opened.

    Args:
      names: FILE.py:FUNCTION, from the words of a command line.
    """

    def __init__(self, names: Iterable[str] = ()):
        self.named = list(names)
        self.told: set[str] = set()  # changed since the run began, and said so
        self._modules: dict[Path, Any] = {}
        self._digests: dict[Path, str] = {}

    @property
    def paths(self) -> list[str]:
        """Files that were opened: errors that come from them are the user's own."""
        return [str(path) for path in self._modules]

    def resolve(self, name: str) -> Callable:
        """FILE.py:FUNCTION -> the function.

        Raises:
          ConfigError: no such file, no such function, or a file that was not named.
        """
        if name not in self.named:
            raise ConfigError("file", name, "a file that is named on this command line")
        path, function = _parts(name)
        if not path.is_file():
            raise ConfigError("file", path, "a Python file that is there")
        names = vars(self._load(path))
        found = names.get(function)
        if not callable(found):
            own = [n for n, f in names.items() if _is_own(f, path)]
            wants = f"a function of it: {', '.join(own) or 'it has none'}"
            raise ConfigError("file", name, wants + did_you_mean(function, own))
        return found

    def reference(self, name: str) -> dict[str, str]:
        """What a run folder says of FILE.py:FUNCTION."""
        path, function = _parts(name)
        self._load(path)
        return {"file": path.name, "function": function, "sha256": self._digests[path]}

    def named_as(self, reference: Mapping[str, Any]) -> str:
        """The FILE.py:FUNCTION, among those named, that a run folder refers to.

        Raises:
          ConfigError: the user has not named it.
        """
        file, function = str(reference.get("file")), str(reference.get("function"))
        for name in self.named:
            path, of = _parts(name)
            if path.name == file and of == function:
                return name
        wants = (
            f"the file that it was made with: add PATH/{file}:{function} to the command "
            "(no code is run because a run folder names it)"
        )
        raise ConfigError("file", " ".join(self.named) or "nothing", wants)

    def _load(self, path: Path) -> Any:
        if path not in self._modules:
            self._digests[path] = hashlib.sha256(path.read_bytes()).hexdigest()
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


def _parts(name: str) -> tuple[Path, str]:
    file, _, function = name.rpartition(":")
    return expanded(file).resolve(), function


def _is_own(value: object, path: Path) -> bool:
    return inspect.isfunction(value) and value.__code__.co_filename == str(path)


def named(word: str, files: Files) -> Recipe:
    """The recipe that a word of the command line names.

    Raises:
      ConfigError: there is none.
    """
    if ".py:" in word:
        function, origin = files.resolve(word), files.reference(word)
        summary = summary_of(function)
        return Recipe(origin["function"], function, summary, origin, {})
    if word.endswith(".py"):
        wants = f"{word}:FUNCTION, a function of it that returns an Experiment"
        raise ConfigError("recipe", word, wants)
    recipes = known(word)
    if word not in recipes:
        hint = did_you_mean(word, recipes)
        wants = "a recipe of `jaxmeta list`, FILE.py:FUNCTION, or a run folder"
        raise ConfigError("recipe", repr(word), wants + hint)
    return recipes[word]


def of_reference(reference: Mapping[str, Any], files: Files) -> Recipe:
    """The recipe that a run folder refers to: looked up, never opened from there."""
    if "package" in reference:
        name = str(reference["package"])
        recipes = known(name)
        if name not in recipes:
            hint = did_you_mean(name, recipes)
            raise ConfigError("recipe", repr(name), f"a recipe of this version{hint}")
        return recipes[name]
    if "file" in reference:
        name = files.named_as(reference)
        recipe = named(name, files)
        changed = recipe.origin["sha256"] != reference.get("sha256")
        if changed and name not in files.told:  # a command may look twice
            files.told.add(name)
            warnings.warn(
                f"{name}: the file has been changed since the run began", stacklevel=2
            )
        return recipe
    wants = "that experiment, in Python: jm.runs.load(path, experiment)"
    raise ConfigError("recipe", "an experiment that was made in Python", wants)
