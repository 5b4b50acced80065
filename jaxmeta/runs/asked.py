"""What the words after `jaxmeta train` ask for: a recipe, its options, the settings."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxmeta.runs.docstrings import notes_of
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.files import expanded
from jaxmeta.runs.folder import read_config
from jaxmeta.runs.making import from_json, options_of
from jaxmeta.runs.options import Found, Option
from jaxmeta.runs.registry import Files, Recipe, named, of_reference
from jaxmeta.runs.settings import Settings, check, own_settings
from jaxmeta.runs.words import Words, read, show


class Asked(NamedTuple):
    """What a command line asks for.

    Attributes:
      recipe: what to run.
      options: of the recipe, those that are kept or said.
      settings: of the run.
      help: the text, where help is all that is asked for.
    """

    recipe: Recipe
    options: dict[str, Any]
    settings: Settings
    help: str | None = None


def asked(words: Words, files: Files, default: str) -> Asked:
    """Reads the words: a recipe, a run to go on with, or one to start from (--fork).

    Args:
      words: after `jaxmeta train`.
      files: those that are named in them.
      default: the recipe where none is named.

    Returns:
      `Asked`; nothing has been built.

    Raises:
      ConfigError: the first thing that cannot be used.
    """
    own, fork = [n for n in words.names if ".py:" in n], words.said.get("fork")
    names = [n for n in words.names if ".py:" not in n]
    run = names[0] if names and is_run(names[0]) else None
    start = run or (fork[0] if fork and not names else None)
    # a run may want several files: that of its function, and those of its options
    if len(names) > 1 or (start is None and len(names) + len(own) > 1):
        got = " ".join(words.names)
        raise ConfigError("train", got, "one recipe, or one run folder")
    given: dict[str, Any] = {}
    settings = Settings()
    if start is not None:
        config = read_config(expanded(start))
        recipe = of_reference(config.recipe, files)
        given, settings = from_json(config.options, files), config.settings
        if run is None:  # a fork has all of it, however that one began
            settings = settings.having(warm_start=None)
        settings = settings.having(out=run)
    else:
        recipe = named((own or names or [default])[0], files)
    known = own_settings()
    choices = given | choices_of(words)
    found = options_of(recipe, choices, files)
    if words.help:
        return Asked(recipe, {}, settings, _help(recipe, found, known, choices))
    # An option that the recipe has as well is the recipe's: its schedules follow it.
    said = read(words.said, {**known, **found.options})
    kept = _still_there(given, choices, found)
    options = {k: v for k, v in said.items() if k in found.options}
    rest = {k: v for k, v in said.items() if k in known and k not in found.options}
    if "seed" in options:
        rest["seed"] = options["seed"]
    return Asked(recipe, kept | options, check(settings.having(**rest)))


def is_run(name: str) -> bool:
    """Whether a word names a run folder."""
    return (expanded(name) / "config.json").is_file()


def choices_of(words: Words) -> dict[str, Any]:
    """What is said of choices, before types are known: single words."""
    return {k: v[0] for k, v in words.said.items() if len(v) == 1}


def _still_there(
    given: Mapping[str, Any], choices: Mapping[str, Any], found: Found
) -> dict[str, Any]:
    """Kept options, less those of a part that has been chosen anew."""
    now = found.options
    changed = {
        name
        for name, option in now.items()
        if option.one_of and name in given and choices[name] != given[name]
    }
    return {k: v for k, v in given.items() if k in now and now[k].owner not in changed}


def _help(
    recipe: Recipe,
    found: Found,
    known: Mapping[str, Option],
    choices: Mapping[str, Any],
) -> str:
    def means(option: Option) -> bool:
        if (where := option.where) is None or where.option not in found.options:
            return True
        stands = found.options[where.option].default
        return choices.get(where.option, stands) == where.value

    rest = [o for name, o in known.items() if name not in found.options]
    notes = [notes_of(part) for part in (recipe.function, *found.chosen.values())]
    return "\n".join([
        f"usage: jaxmeta train {as_said(recipe)} [--option value ...]",
        recipe.summary,
        show(filter(means, found.options.values())),
        *filter(None, notes),
        "Of every run:",
        show(rest),
    ])  # fmt: skip


def as_said(recipe: Recipe) -> str:
    """What stands for the recipe on a command line."""
    origin = recipe.origin
    return f"{origin['file']}:{recipe.name}" if "file" in origin else recipe.name
