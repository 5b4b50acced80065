"""What the package depends on, and what its own source may not do."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import jaxmeta
from tests.scorecard.score import Score, Tally, environment

LOCK = "requirements-lock.txt"
BANNED = {"eval", "exec", "compile", "__import__"}
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
SWITCHES = {"allow_pickle", "shell"}
METHODS = {"extractall", "unsafe_load", "full_load", "system", "popen"}
COPYLEFT = re.compile(r"\bA?GPL|Affero|(?<!Lesser )General Public License")


def supply() -> Score:
    """SUPPLY: at most eight runtime dependencies, a lock by hash, a licence for all that
    is installed with them, no socket at import, nothing in the source that runs what it
    reads; audit and release where they exist."""
    tally, root = Tally(), Path(jaxmeta.__file__).parents[1]
    names = {_name(r) for r in _requirements(root)}
    tally.add(len(names) <= 8, f"{len(names)} dependencies")
    tally.add(_silent_import(), "a socket at import")
    found = gate(Path(jaxmeta.__file__).parent)
    tally.add(not found, f"AST gate: {found[:2]}")
    rows = inventory()
    odd = [f"{n}: {x or 'none'}" for n, _, x in rows if not x or COPYLEFT.search(x)]
    tally.add(not odd, f"licence of {odd[:3]}")
    unlocked = lock_gaps(root / LOCK, _requirements(root))
    tally.add(not unlocked, f"{LOCK}: {unlocked[:3]}")
    tally.add(
        _audit(root / LOCK),
        "pip-audit: not installed, finds something, or reaches no advisories",
    )
    released = not (root / "pyproject.toml").exists()  # installed, not a checkout
    tally.add(released, "no release yet that could be attested")
    return tally.score(f"{len(names)} dependencies, {len(rows)} with their own")


def inventory(package: str = "jaxmeta") -> list[tuple[str, str, str]]:
    """What is installed with a package: a bill of materials from the metadata.

    Args:
      package: a distribution.

    Returns:
      `(name, version, licence)` of it and of all that it needs, without extras.

    >>> "jax" in [name for name, *_ in inventory()]
    True
    """
    from packaging.requirements import Requirement

    rows, todo, seen = [], [(package, frozenset())], {}
    while todo:
        name, extras = todo.pop()
        if _name(name) in seen and extras <= seen[_name(name)]:
            continue
        new = _name(name) not in seen
        seen[_name(name)] = seen.get(_name(name), frozenset()) | extras
        found = importlib.metadata.distribution(name)
        if new:
            rows.append((_name(name), found.version, _licence(found.metadata)))
        for text in found.requires or []:
            need = Requirement(text)
            cases = [{"extra": extra} for extra in ("", *extras)]
            if need.marker is None or any(map(need.marker.evaluate, cases)):
                todo.append((need.name, frozenset(need.extras)))
    return sorted(rows)


def lock_gaps(lock: Path, requirements: list[str]) -> list[str]:
    """What a lock file does not pin: by version and hash, as the requirements want it.

    Args:
      lock: `name==version --hash=sha256:...` for each distribution, for Python 3.11.
      requirements: what has to be in it.

    Returns:
      A line for each gap.
    """
    from packaging.requirements import Requirement

    if not lock.exists():
        return ["no lock file"]
    pins, gaps = {}, []
    lines = [x for x in lock.read_text().splitlines() if not x.startswith("#")]
    for entry in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, rest = entry.partition("==")
        pins[_name(name)] = rest.split()[0] if rest else ""
        if "--hash=sha256:" not in rest:
            gaps.append(f"{name.strip()}: no version or hash")
    for need in map(Requirement, requirements):
        here = need.marker is None or need.marker.evaluate({"python_version": "3.11"})
        pin = pins.get(_name(need.name))
        if here and (pin is None or pin not in need.specifier):
            gaps.append(f"{need.name}: {pin or 'not there'}, wants {need}")
    return gaps


def _name(requirement: str) -> str:
    """The normalised name of a distribution."""
    name = re.split(r"[<>=!~;\[ ]", requirement)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(metadata) -> str:
    stated = metadata["License-Expression"]
    if stated:
        return stated
    kinds = [c for c in metadata.get_all("Classifier") or [] if c.startswith("Lic")]
    return "; ".join(kinds) or (metadata["License"] or "").split("\n")[0]


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
    """Whether importing the package makes no socket at all."""
    code = (
        "import sys\n"
        "def refuse(event, args):\n"
        "    if event.startswith('socket.'): raise SystemExit(3)\n"
        "sys.addaudithook(refuse)\n"
        "import jaxmeta.cli, jaxmeta.recipes.few_shot, jaxmeta.runs.training, jaxmeta.testing\n"
    )
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment()).returncode == 0


def _audit(lock: Path) -> bool:
    program = shutil.which("pip-audit")
    if program is None or not lock.exists():
        return False
    # strict: a package that no advisory could be asked about is no package without one
    command = [program, "--strict", "--no-deps", "--disable-pip", "-r", str(lock)]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True)
    return done.returncode == 0
