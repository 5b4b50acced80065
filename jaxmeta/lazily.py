"""Names of a package that are imported when they are first asked for.

    if TYPE_CHECKING:
        from jaxmeta.core import Batch as Batch

    __getattr__, __dir__ = lazily(__name__, __file__)

The block is what a type checker and a reader see; the same block says at run time where
each name is. So `jaxmeta --help` does not wait for JAX.
"""

import ast
import functools
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def lazily(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list]]:
    """`__getattr__` and `__dir__` for a package, from its `if TYPE_CHECKING:` block.

    Args:
      package: its name.
      file: its `__init__.py`.

    Returns:
      The two functions. A name that is a module or is in one is imported when it is
      first asked for, and kept.
    """

    @functools.cache
    def places() -> dict[str, tuple[str, str]]:
        tree = ast.parse(Path(file).read_text(encoding="utf-8"))
        blocks = [node for node in tree.body if isinstance(node, ast.If)]
        return {
            alias.asname or alias.name: (str(node.module), alias.name)
            for block in blocks
            for node in block.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def get(name: str) -> Any:
        if name not in places():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, attribute = places()[name]
        if module == package:
            value = importlib.import_module(f"{package}.{attribute}")
        else:
            value = getattr(importlib.import_module(module), attribute)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list:
        return sorted({*vars(sys.modules[package]), *places()})

    return get, names
