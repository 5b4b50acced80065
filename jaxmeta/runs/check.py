"""What can be wrong with a recipe whatever its data are; nothing here imports JAX."""

import dataclasses
import math
import typing

from jaxmeta.runs.errors import ConfigError, did_you_mean
from jaxmeta.runs.recipes import RECIPES, Recipe

# Smallest value of each number, and whether None is another one.
_AT_LEAST = {
    **dict.fromkeys(("size", "shots", "queries", "train_shots", "train_queries"), 1),
    **dict.fromkeys(("ways", "train_ways", "episodes", "validate_episodes"), 2),
    **dict.fromkeys(
        ("filters", "context", "inner_batch", "steps", "tasks", "halve_every"), 1
    ),
    **dict.fromkeys(("samples", "train_samples", "particles"), 1),
    **dict.fromkeys(("words", "chunk", "task_chunk", "checkpoint_every"), 1),
    **dict.fromkeys(("inner_steps", "eval_inner_steps", "validate_every", "seed"), 0),
}
_POSITIVE = (
    *("inner_rate", "lam", "rate", "clip", "inner_alarm"),
    *("noise", "init_std", "generator_rate"),
)
_NOT_NEGATIVE = ("kl_weight", "lam_gan", "repulsion")
_LARGEST_SEED = 2**32 - 1


def find_recipe(name: str) -> Recipe:
    """The recipe of that name; a `ConfigError` with a suggestion otherwise."""
    if name not in RECIPES:
        hint = did_you_mean(name, RECIPES)
        raise ConfigError("recipe", repr(name), f"one of {', '.join(RECIPES)}{hint}")
    return RECIPES[name]


def from_dict(values: dict) -> Recipe:
    """A recipe from the JSON of a run folder; unknown or missing fields are errors."""
    known = {field.name: field for field in dataclasses.fields(Recipe)}
    for name in values:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(name, "an unknown field", f"a field of Recipe{hint}")
    for name, field in known.items():
        if name not in values and field.default is dataclasses.MISSING:
            raise ConfigError(name, "nothing", "a value")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return check(Recipe(**values))


def check(recipe: Recipe) -> Recipe:
    """Returns the recipe, or raises a `ConfigError` for its first bad field."""
    hints = typing.get_type_hints(Recipe)
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if not _fits(value, hints[field.name]):
            raise ConfigError(field.name, repr(value), describe(hints[field.name]))
    for name, least in _AT_LEAST.items():
        value = getattr(recipe, name)
        if value is not None and value < least:
            raise ConfigError(name, value, f"an integer >= {least}")
    for name in _POSITIVE:
        value = getattr(recipe, name)
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise ConfigError(name, value, "a finite number > 0")
    for name in _NOT_NEGATIVE:
        value = getattr(recipe, name)
        if not (value >= 0 and math.isfinite(value)):
            raise ConfigError(name, value, "a finite number >= 0")
    if not (recipe.damping >= 0 and math.isfinite(recipe.damping)):
        raise ConfigError("damping", recipe.damping, "a finite number >= 0")
    if recipe.seed > _LARGEST_SEED:
        raise ConfigError("seed", recipe.seed, f"an integer <= {_LARGEST_SEED}")
    if not recipe.hidden or min(recipe.hidden) < 1:
        raise ConfigError("hidden", recipe.hidden, "one or more integers >= 1")
    return recipe


def hints_of(kind: type) -> dict[str, object]:
    """Field -> type, for the fields that a command line may set."""
    hints = typing.get_type_hints(kind)
    return {k: v for k, v in hints.items() if k not in ("name", "summary")}


def describe(hint: object) -> str:
    """A type in words: `"an integer"`, `"one of second, first"`."""
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return f"one of {', '.join(args)}"
    if type(None) in args:
        return " or ".join(
            [describe(a) for a in args if a is not type(None)] + ["None"]
        )
    if typing.get_origin(hint) is tuple:
        return "integers"
    names = {int: "an integer", float: "a number", bool: "True or False", str: "text"}
    return names[hint]  # type: ignore[index]


def _fits(value: object, hint: object) -> bool:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return value in args
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(v, int) for v in value)
    if args:
        return any(_fits(value, arg) for arg in args)
    if hint is type(None):
        return value is None
    if hint in (int, float) and isinstance(value, bool):
        return False  # True is an int to Python, and no number of shots to anyone
    return isinstance(value, (int, float) if hint is float else hint)  # type: ignore
