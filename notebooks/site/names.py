"""Public names of the package, read from its source: nothing is imported."""

import ast
import functools
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "jaxmeta"
PLAIN = ("core", "criteria", "losses", "metrics", "tree")  # rooms that are one file
HIDDEN = ("recipes",)  # reached by name: `jaxmeta list`


class Name(NamedTuple):
    """A public name.

    Attributes:
      name: as one writes it behind the room.
      path: where it is defined.
      node: its definition; None for values and modules.
    """

    name: str
    path: str
    node: ast.AST | None


@functools.cache
def rooms() -> dict[str, list[Name]]:
    """Names by room; those of `jaxmeta` itself are under "jaxmeta"."""
    folders = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    found = {"jaxmeta": _exported(PACKAGE / "__init__.py", "jaxmeta")}
    for room in folders:
        if room not in HIDDEN:
            file = PACKAGE / room / "__init__.py"
            found[room] = _exported(file, f"jaxmeta.{room}")
    for room in PLAIN:
        found[room] = _exported(PACKAGE / f"{room}.py", f"jaxmeta.{room}")
    return found


@functools.cache
def parse(file: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(file.read_text(encoding="utf-8"))


def file_of(module: str) -> Path:
    """The source of a module of the package."""
    path = PACKAGE.parent.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _defined(file: Path, module: str) -> list[Name]:
    found: dict[str, ast.AST | None] = {}
    for node in parse(file).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for name in _targets(node):
                found[name] = None
    names = [n for n in found if not n.startswith("_")]
    return [Name(n, f"{module}.{n}", found[n]) for n in names]


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [t.id for t in targets if isinstance(t, ast.Name)]


def _exported(file: Path, package: str) -> list[Name]:
    """`from x import y as y`, at the top or in the block for type checkers."""
    imports = [
        node for node in ast.walk(parse(file)) if isinstance(node, ast.ImportFrom)
    ]
    found = []
    for node in imports:
        for alias in node.names:
            if alias.asname and not alias.asname.startswith("_"):
                found.append(_resolved(str(node.module), alias))
    return sorted(set(found + _defined(file, package)), key=lambda n: (n.name, n.path))


def _resolved(module: str, alias: ast.alias) -> Name:
    """Follows re-exports to where a name is defined."""
    while file_of(module).exists():
        tree = parse(file_of(module))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                if node.name == alias.name and node in tree.body:
                    return Name(str(alias.asname), f"{module}.{alias.name}", node)
        onward = [
            (str(node.module), other)
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for other in node.names
            if (other.asname or other.name) == alias.name and node.module != module
        ]
        if not onward:
            break
        module, other = onward[0]
        alias = ast.alias(other.name, alias.asname)
    return Name(str(alias.asname), f"{module}.{alias.name}", None)
