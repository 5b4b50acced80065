"""Functions as command lines: a signature gives the options, a docstring their help.

`OneOf` marks a parameter whose value is itself a function out of a table, a network or a
learner; the keyword arguments of the one that is chosen are options, too.

    def few_shot(*, learner: Annotated[Part, OneOf(LEARNERS)] = use("maml"), ways: int = 5)

    --learner maml --inner-rate 0.4 --ways 5
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

from jaxmeta.runs.docstrings import help_of
from jaxmeta.runs.errors import ConfigError, did_you_mean
from jaxmeta.runs.kinds import describe, plain, plain_part

REQUIRED = inspect.Parameter.empty


@dataclasses.dataclass(frozen=True)
class OneOf:
    """The mark of an option that is a function out of a table.

    Attributes:
      table: name -> function; or a function that gives it, where importing it is slow.
      files: whether FILE.py:FUNCTION does as well.
      call: whether the value of the option is what the chosen function returns, and not
        the function.
      used: a default -> `Use`, where defaults are such values.
    """

    table: Mapping[str, Callable] | Callable[[], Mapping[str, Callable]]
    files: bool = False
    call: bool = False
    used: Callable[[Any], "Use"] | None = None

    def functions(self) -> Mapping[str, Callable]:
        return self.table() if callable(self.table) else self.table


class Use(NamedTuple):
    """A choice out of a table, with values for the options of what is chosen."""

    name: str
    options: dict[str, Any]


def use(name: str, **options: Any) -> Any:
    """`use("maml", inner_rate=0.4)`: the value of an option that is `OneOf` a table.

    It is a `Use`, where a type checker wants what will have been chosen.
    """
    return Use(name, options)


@dataclasses.dataclass(frozen=True)
class Where:
    """The mark of an option that means something where another has one value.

    Attributes:
      option: the other one.
      value: its value. With others `--help` does not show this option.
    """

    option: str
    value: str


CHOICES: dict[Any, OneOf] = {}
"""Types that are chosen out of a table wherever they are an argument: type -> table."""


class Option(NamedTuple):
    """One option of a command line.

    Attributes:
      name: of the argument.
      kind: its type.
      default: its value where nothing is said; `REQUIRED` where something must be.
      help: a sentence.
      owner: the option whose choice brings it, "" for the recipe's own.
      one_of: the table, where it is a choice.
      argument: what the function calls it; another name than `name` where two parts
        have an option of the same name, and the later one's says whose it is.
      where: what another option must be for this one to mean something.
    """

    name: str
    kind: Any
    default: Any
    help: str
    owner: str = ""
    one_of: OneOf | None = None
    argument: str = ""
    where: Where | None = None


class Found(NamedTuple):
    """A function, all its options, and what was chosen for those that are choices."""

    options: dict[str, Option]
    chosen: dict[str, Callable]


Resolve = Callable[[str], Callable]
"""FILE.py:FUNCTION -> the function; only for files that the user has named."""


def no_files(name: str) -> Callable:
    """Where no file has been named, none is opened."""
    raise ConfigError("file", name, "a file that is named on this command line")


def find(function: Callable, said: Mapping[str, Any], resolve: Resolve) -> Found:
    """All options of a function, given the choices among `said`.

    Args:
      function: a recipe.
      said: option -> value, as typed or as kept in a run folder.
      resolve: opens FILE.py:FUNCTION.

    Returns:
      `Found`.

    Raises:
      ConfigError: a choice that is not in its table; a parameter that no command line
        can give and that has no default.
    """
    options: dict[str, Option] = {}
    chosen: dict[str, Callable] = {}
    recipe = own_options(function)

    def add(function: Callable, owner: str, given: Mapping[str, Any]) -> None:
        own = own_options(function, owner)
        taken = set(options) | {o.name for o in recipe if owner}
        for option in own:
            if option.name in taken:
                option = option._replace(name=f"{owner}_{option.name}")
            if option.argument in given:
                option = option._replace(default=given[option.argument])
            options[option.name] = option
            if option.one_of is not None:
                start = option.default
                start = start if isinstance(start, Use) else Use(str(start), {})
                options[option.name] = option._replace(default=start.name)
                name = str(said.get(option.name, start.name))
                part = _choice(option, name, resolve)
                chosen[option.name] = part
                same = start.options if name == start.name else {}
                add(part, option.name, same)
                unknown = set(same) - {
                    o.argument for o in options.values() if o.owner == option.name
                }
                if unknown:
                    raise TypeError(f"{name}: has no option {sorted(unknown)[0]!r}")

    add(function, "", {})
    return Found(options, chosen)


def _choice(option: Option, name: str, resolve: Resolve) -> Callable:
    one_of = option.one_of
    assert one_of is not None
    if one_of.files and ".py:" in name:
        return resolve(name)
    table = one_of.functions()
    if name not in table:
        more = " or FILE.py:FUNCTION" if one_of.files else ""
        wants = f"one of {', '.join(table)}{more}{did_you_mean(name, table)}"
        raise ConfigError(option.name, repr(name), wants)
    return table[name]


def bind(found: Found, values: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of the function: each choice as a `partial` of its own.

    Args:
      found: from `find`.
      values: a value for each option that is not left at its default.

    Returns:
      Arguments for the function that `find` was given.

    Raises:
      ConfigError: an option without a value.
    """
    full = {}
    for name, option in found.options.items():
        value = values.get(name, option.default)
        if value is REQUIRED:
            raise ConfigError(name, "nothing", describe(option.kind))
        full[name] = value

    def value(name: str, option: Option) -> Any:
        if option.one_of is None:
            return full[name]
        part = partial(found.chosen[name], **arguments(name))
        return part() if option.one_of.call else part

    def arguments(owner: str) -> dict[str, Any]:
        return {
            option.argument: value(name, option)
            for name, option in found.options.items()
            if option.owner == owner
        }

    return arguments("")


def own_options(function: Callable, owner: str = "") -> list[Option]:
    """The options that a function's own signature gives, in its order.

    Parameters of a type that no command line can give keep their default.
    """
    made = inspect.signature(function, eval_str=True)
    said = help_of(function)
    options = []
    for name, parameter in made.parameters.items():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        kind, one_of, where = parameter.annotation, None, None
        if kind is inspect.Parameter.empty:  # of the type of what stands there
            unknown = parameter.default in (None, REQUIRED)
            kind = str if unknown else type(parameter.default)
        if typing.get_origin(kind) is Annotated:
            kind, *marks = typing.get_args(kind)
            one_of = next((m for m in marks if isinstance(m, OneOf)), None)
            where = next((m for m in marks if isinstance(m, Where)), None)
        default = parameter.default
        if one_of is None and isinstance(kind, type) and kind in CHOICES:
            one_of = CHOICES[kind]
            default = one_of.used(default) if one_of.used else default
        kind = kind if one_of else plain_part(kind)
        if one_of is None and not plain(kind):
            if default is REQUIRED:
                wants = (
                    "a default, or what a command line can give: int, float, bool, str, "
                    "Path, Literal, tuples of them, or None"
                )
                raise ConfigError(name, f"an argument of type {kind}", wants)
            continue
        kind = str if one_of else kind
        text = said.get(name, "")
        options.append(Option(name, kind, default, text, owner, one_of, name, where))
    return options


def annotation_of(option: Option) -> Any:
    """What a parameter is annotated with that is to become this option again."""
    kind = Annotated[object, option.one_of] if option.one_of else option.kind
    return Annotated[kind, option.where] if option.where else kind
