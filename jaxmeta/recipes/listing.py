"""What there is, a line each: `jaxmeta list`.

The files are read as text, with `ast`: importing the learners takes JAX and two seconds,
and a list is wanted at once.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from jaxmeta.recipes.presets import DEFAULT
from jaxmeta.runs.registry import RECIPES

Function = ast.FunctionDef
HERE = Path(__file__).parent
LEARNERS = HERE.parent / "learners"


def tables() -> dict[str, dict[str, str]]:
    """Recipes, learners, networks and data sets, each with a line.

    Returns:
      Title -> name -> the first line of its docstring; the default recipe says that it
      is the one.

    >>> found = tables()
    >>> list(found), found["networks"]["mlp"]
    (['recipes', 'learners', 'networks', 'data sets'], 'Dense layers.')
    """
    return {
        "recipes": _recipes(),
        "learners": _learners(),
        "networks": _part("networks", "NETWORKS"),
        "data sets": _part("sources", "SOURCES"),
    }


def _recipes() -> dict[str, str]:
    """The default, the functions, and their presets, which import nothing heavy."""
    functions = {
        str(mark.args[0].value): _line(function)
        for function, mark in _marked("recipe")
        if isinstance(mark, ast.Call) and isinstance(mark.args[0], ast.Constant)
    }
    presets = {name: recipe.summary for name, recipe in RECIPES.items()}
    default = {DEFAULT: f"{presets[DEFAULT]} (default)"}
    return {**default, **functions, **presets, **default}


def _learners() -> dict[str, str]:
    """The rows of `LEARNERS`, and the methods of this room that have none there."""
    tree = _parse(LEARNERS / "__init__.py")
    functions = {f.name: f for path in _files(LEARNERS) for f in _functions(path)}
    found = {
        name: _line(functions[function])
        for name, function in _rows(tree, "LEARNERS").items()
    }
    for function, _ in _marked("method"):
        found.setdefault(function.name, _line(function))
    return found


def _part(module: str, table: str) -> dict[str, str]:
    """The rows of a table of this room, by the docstrings of their functions."""
    path = HERE / f"{module}.py"
    functions = {f.name: f for f in _functions(path)}
    rows = _rows(_parse(path), table)
    return {name: _line(functions[function]) for name, function in rows.items()}


def _marked(decorator: str) -> Iterator[tuple[Function, ast.expr]]:
    """Functions of this room under `@decorator` or `@decorator(...)`, with the mark."""
    for path in _files(HERE):
        for function in _functions(path):
            for mark in function.decorator_list:
                name = mark.func if isinstance(mark, ast.Call) else mark
                if isinstance(name, ast.Name) and name.id == decorator:
                    yield function, mark


def _rows(tree: ast.Module, table: str) -> dict[str, str]:
    """Name -> function of `TABLE = {...}`, written out or as `{f.__name__: f for ...}`."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        target = node.target if isinstance(node, ast.AnnAssign) else target
        if isinstance(target, ast.Name) and target.id == table:
            value = node.value  # type: ignore[attr-defined]
            if isinstance(value, ast.Dict):
                pairs = zip(value.keys, value.values, strict=True)
                return {str(key.value): name.id for key, name in pairs}  # type: ignore
            names = ast.walk(value.generators[0].iter)  # type: ignore
            return {n.id: n.id for n in names if isinstance(n, ast.Name)}
    raise LookupError(table)


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _functions(path: Path) -> list[Function]:
    return [node for node in _parse(path).body if isinstance(node, Function)]


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.py"))


def _line(function: Function) -> str:
    return (ast.get_docstring(function) or "").split("\n", 1)[0]
