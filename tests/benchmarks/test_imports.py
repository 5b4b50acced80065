"""What a benchmark takes from the package is there: nobody runs all of them in a test."""

import ast
import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(FOLDER.glob("*.py"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_names_are_there(path):
    siblings = {script.stem for script in SCRIPTS}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not siblings & {alias.name for alias in node.names}, "see -m"
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        package, _, rest = node.module.partition(".")
        assert package not in siblings, f"{node.module}: python -m finds benchmarks.*"
        if package == "benchmarks":
            names = [rest] if rest else [alias.name for alias in node.names]
            assert siblings >= set(names)
        elif package == "jaxmeta":
            module = importlib.import_module(node.module)
            for alias in node.names:
                found = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or importlib.util.find_spec(found)
