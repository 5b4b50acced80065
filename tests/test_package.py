"""What is released: one version, a wheel that holds what it should, packages asked for."""

import fnmatch
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import jaxmeta

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_version_is_written_once_and_told_everywhere():
    version = jaxmeta.__version__
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "jaxmeta/__init__.py"
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{version}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_a_wheel_holds_the_package_and_nothing_else(tmp_path):
    wheel = pytest.importorskip("hatchling.builders.wheel")
    (made,) = wheel.WheelBuilder(str(ROOT)).build(
        directory=str(tmp_path), versions=["standard"]
    )
    names = zipfile.ZipFile(made).namelist()
    ours = [name for name in names if ".dist-info/" not in name]
    kinds = ("*.py", "*.json", "*.safetensors", "*/py.typed")
    strange = [n for n in ours if not any(fnmatch.fnmatch(n, kind) for kind in kinds)]
    assert not strange
    assert all(name.startswith("jaxmeta/") for name in ours)
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "jaxmeta").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set(ours) == there
    assert {"jaxmeta/py.typed", "jaxmeta/data/omniglot.json"} <= set(ours)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert Path(made).stat().st_size < 4_000_000


def test_nobody_imports_tensorflow_datasets_who_does_not_ask():
    """Every room and the data readers: with it barred, all of them import.

    So with jaxtyping, which only tests need: without it a shape is a note.
    """
    code = """
import importlib, sys, typing
for barred in ("tensorflow_datasets", "tensorflow", "pyarrow", "jaxtyping"):
    sys.modules[barred] = None
import jax
import jaxmeta as jm
assert typing.get_type_hints(jm.functional.unit) == {"x": jax.Array, "return": jax.Array}
for name in dir(jm):
    getattr(jm, name)
for room in (jm.data, jm.tasks, jm.recipes, jm.runs):
    for name in dir(room):
        getattr(room, name)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
