"""The house rules that a reviewer would otherwise have to remember."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "jaxmeta"
FILES = sorted(ROOT.rglob("*.py"))
# The fault harness is a program too: what it may not do, it may not do in tests/.
HARNESS = sorted((ROOT.parent / "tests" / "scorecard").glob("*.py"))

LEVELS = {
    "alike": 0, "checks": 0, "core": 0, "lazily": 0, "shapes": 0, "signatures": 0,
    "tree": 0,
    "losses": 1, "calibration": 1, "metrics": 1, "criteria": 1,
    "functional": 1, "convolution": 1, "gradients": 1, "rules": 1,
    "models": 2, "data": 2, "tasks": 2,
    "learners": 3, "transfer": 3, "rl": 3,
    "train": 4,
    "runs": 5, "report": 5,
    "recipes": 6, "testing": 6, "estimators": 6,
    "commands": 7, "cli": 7, "__main__": 7,
}  # fmt: skip
# Rooms of one level that may look into a neighbour, one way only.
NEIGHBOURS = {
    ("tree", "core"),
    ("core", "checks"),
    ("core", "shapes"),
    ("calibration", "losses"),
    ("metrics", "calibration"),
    ("metrics", "losses"),
    ("functional", "losses"),
    ("convolution", "functional"),
    ("gradients", "functional"),
    ("criteria", "losses"),
    ("criteria", "metrics"),
    ("rules", "functional"),
    ("tasks", "data"),
    ("transfer", "learners"),
    ("rl", "learners"),
    ("runs", "report"),
    ("estimators", "recipes"),
    ("cli", "commands"),
    ("__main__", "cli"),
}


def room(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(file: Path):
    """Modules a file imports, with the line; imports inside functions count too."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:  # `from .x import y`: one dot is the file's own folder
                package = ("jaxmeta", *file.relative_to(ROOT).parts)[: -node.level]
                module = ".".join([*package, *filter(None, [node.module])])
            if module == "jaxmeta":
                for name in node.names:
                    yield f"jaxmeta.{name.name}", node.lineno
            else:
                yield module, node.lineno


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_only_go_down(file):
    if file == ROOT / "__init__.py":
        return  # the front door opens on every room
    here = room(file)
    for module, line in imports(file):
        parts = [*module.split("."), "__version__"]
        if parts[0] != "jaxmeta" or parts[1] in (here, "__version__"):
            continue
        there = parts[1]
        allowed = LEVELS[there] < LEVELS[here] or (here, there) in NEIGHBOURS
        assert allowed, (
            f"{file.name}:{line}: {here} imports {there}, which is not below"
        )


def test_every_room_has_a_level():
    assert {room(f) for f in FILES} - {"__init__"} <= set(LEVELS)


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_only_models_know_flax(file):
    for module, line in imports(file):
        if module.split(".")[0] == "flax":
            assert room(file) == "models", f"{file.name}:{line} imports flax"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_one_module_knows_orbax(file):
    for module, line in imports(file):
        if module.split(".")[0] == "orbax":
            known = ROOT / "runs" / "checkpoints.py"
            assert file == known, f"{file.name}:{line} imports Orbax"


def test_depth_is_at_most_two():
    assert max(len(f.relative_to(ROOT).parts) for f in FILES) <= 2


FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"}


@pytest.mark.parametrize("file", FILES + HARNESS, ids=lambda f: "/".join(f.parts[-2:]))
def test_no_code_from_data(file):
    """No pickle, no eval, no `allow_pickle`, no shell."""
    for module, line in imports(file):
        assert module.split(".")[0] not in FORBIDDEN_MODULES, f"{file.name}:{line}"
    for node in ast.walk(ast.parse(file.read_text())):
        if not isinstance(node, ast.Call):
            continue
        where = f"{file.name}:{node.lineno}"
        if isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, where
        if isinstance(node.func, ast.Attribute):
            owner = getattr(node.func.value, "id", "")
            assert (owner, node.func.attr) not in (("os", "system"), ("os", "popen")), (
                where
            )
            assert node.func.attr != "extractall", where
        for keyword in node.keywords:
            on = not (
                isinstance(keyword.value, ast.Constant) and not keyword.value.value
            )
            assert not (keyword.arg in ("allow_pickle", "shell") and on), where


def test_no_global_random_state():
    for file in FILES + HARNESS:
        stdlib = any(module == "random" for module, _ in imports(file))
        for node in ast.walk(ast.parse(file.read_text())):
            if stdlib and isinstance(node, ast.Attribute):
                of_random = getattr(node.value, "id", "") == "random"
                where = f"{file.name}:{node.lineno}"
                assert not of_random or node.attr == "Random", where
            if isinstance(node, ast.Attribute) and isinstance(
                node.value, ast.Attribute
            ):
                is_numpy = getattr(node.value.value, "id", "") in ("np", "numpy")
                if is_numpy and node.value.attr == "random":
                    allowed = node.attr in ("default_rng", "Generator")
                    assert allowed, f"{file.name}:{node.lineno}"


def test_import_is_light():
    """No TensorFlow, no data set library, no network, no plotting; JAX when asked for."""
    code = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a socket at import')\n"
        "socket.socket.connect = refuse\n"
        "import jaxmeta, jaxmeta.cli\n"
        "assert 'jax' not in sys.modules, 'JAX at import'\n"
        "for name in dir(jaxmeta): getattr(jaxmeta, name)\n"
        "assert 'jax' in sys.modules\n"
        "heavy = 'tensorflow tensorflow_datasets matplotlib torch grain'.split()\n"
        "print([m for m in heavy if m in sys.modules])\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert out.stdout.strip() == "[]"
