"""Out of memory, and what the package itself depends on."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jaxmeta
from jaxmeta.testing.crash import TINY
from jaxmeta.testing.score import Score, Tally, environment, scratch
from jaxmeta.testing.zygote import Zygote

KNOBS = ("--tasks", "--task-chunk", "--inner-steps", "--order first", "remat")
BANNED = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
SWITCHES = {"allow_pickle", "shell"}
METHODS = {"extractall", "unsafe_load", "full_load", "system", "popen"}


def oom() -> Score:
    """OOM: a run too large for the memory ends with status 1 and one line that names
    what to turn down; what was saved is whole and goes on."""
    tally = Tally()
    with scratch() as root, Zygote(root) as zygote:
        small = ["train", *TINY, "--steps", "20"]
        status = zygote.run(*small, "--out", "old")
        tally.add(status == 0, f"the small run: {status}")
        # a terabyte of activations: refused at once, before a page of it is touched
        huge = ["--fork", "old", "--steps", "40", "--tasks", "500000000"]
        status = zygote.run("train", *huge, "--out", "new", "--validate-every", "0")
        said = (root / "log.txt").read_text().splitlines()
        line = said[-1] if said else ""
        tally.add(status == 1, f"status {status}: {line[:200]}")
        missing = [knob for knob in KNOBS if knob not in line]
        tally.add(not missing, f"does not name {missing}: {line[:200]}")
        status = zygote.run("evaluate", "new", "--episodes", "4")
        tally.add(status == 0, f"the last checkpoint does not restore: {status}")
    return tally.score("device memory of the CPU backend; the exit status is 1")


def supply() -> Score:
    """SUPPLY: at most eight runtime dependencies, no socket at import, nothing in the
    source that runs what it reads; release, lock and audit where they exist."""
    tally, root = Tally(), Path(jaxmeta.__file__).parents[1]
    names = {re.split(r"[<>=!~;\[ ]", r)[0] for r in _requirements(root)}
    tally.add(len(names) <= 8, f"{len(names)} dependencies")
    tally.add(_silent_import(), "a socket at import")
    found = gate(Path(jaxmeta.__file__).parent)
    tally.add(not found, f"AST gate: {found[:2]}")
    tally.add(bool([*root.glob("uv.lock"), *root.glob("*lock*.txt")]), "no lock file")
    tally.add(_audit(), "pip-audit is not installed here, or finds something")
    released = not (root / "pyproject.toml").exists()  # installed, not a checkout
    tally.add(released, "no release yet that could be attested")
    return tally.score(f"{len(names)} dependencies")


def _requirements(root: Path) -> list[str]:
    """What pyproject.toml asks for, or, where there is none, the installed package."""
    project = root / "pyproject.toml"
    if project.exists():
        return tomllib.loads(project.read_text())["project"]["dependencies"]
    found = importlib.metadata.requires("jaxmeta") or []
    return [r for r in found if "extra ==" not in r]


def gate(package: Path) -> list[str]:
    """Where a source tree could run what it reads: pickle, eval, a shell, extractall.

    Args:
      package: a folder of Python files.

    Returns:
      `file:line: name` for each place.
    """
    found = []
    for file in sorted(package.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            name = _banned(node)
            if name:
                found.append(f"{file.name}:{node.lineno}: {name}")  # type: ignore
    return found


def _banned(node: ast.AST) -> str | None:
    if isinstance(node, ast.Import | ast.ImportFrom):
        modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        bad = [m for m in modules if m.split(".")[0] in MODULES]
        return bad[0] if bad else None
    if not isinstance(node, ast.Call):
        return None
    if isinstance(node.func, ast.Name) and node.func.id in BANNED:
        return node.func.id
    if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        owner = getattr(node.func.value, "id", "")
        if node.func.attr not in ("system", "popen") or owner == "os":
            return f"{owner}.{node.func.attr}"
    for word in node.keywords:
        off = isinstance(word.value, ast.Constant) and not word.value.value
        if word.arg in SWITCHES and not off:
            return f"{word.arg}="
    return None


def _silent_import() -> bool:
    code = (
        "import socket\n"
        "def refuse(*a, **k): raise SystemExit(3)\n"
        "socket.socket.connect = refuse\n"
        "socket.getaddrinfo = refuse\n"
        "import jaxmeta, jaxmeta.cli, jaxmeta.runs.train\n"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment()).returncode == 0


def _audit() -> bool:
    program = shutil.which("pip-audit")
    if program is None:
        return False
    return subprocess.run([program, "--progress-spinner", "off"]).returncode == 0
