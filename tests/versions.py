"""Both ends of what is supported, in one command: `python -m tests.versions [oldest|newest]`.

    oldest    the first Python of pyproject.toml, and the first release of each package in it
    newest    the last Python on this machine, and what pip gives it

Each in an environment of its own: the laws of learners on a small network, the reference
problems, the README. `.ci/run` tests all with the one Python that it has.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
FIRST, LAST = 11, 20
LEARNERS = ("maml", "imaml", "protonet", "cnp")
TESTS = (
    *(f"tests/learners/test_contract.py::test_contract[{x}-fast]" for x in LEARNERS),
    "tests/reference",
    "README.md",
)
SHOWN = ("jax", "flax", "optax", "numpy")


def pythons() -> list[Path]:
    """The interpreters on this machine, Python 3.11 first; pyenv's as well."""
    found = []
    for minor in range(FIRST, LAST):
        pyenv = Path.home() / ".pyenv" / "versions"
        places = [
            shutil.which(f"python3.{minor}"),
            *pyenv.glob(f"3.{minor}.*/bin/python"),
        ]
        works = [p for p in places if p and _version(Path(p)) == f"3.{minor}"]
        found += [Path(p) for p in works[:1]]
    return found


def _version(python: Path) -> str:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True)
    return done.stdout.strip()


def first_releases(python: str) -> list[str]:
    """`name==version` for each lower bound among the dependencies.

    >>> [line for line in first_releases("3.11") if line.startswith("flax")]
    ['flax==0.12.8']
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needs = [Requirement(line) for line in project["project"]["dependencies"]]
    lines = []
    for need in needs:
        if need.marker is None or need.marker.evaluate({"python_version": python}):
            (bound,) = [s.version for s in need.specifier if s.operator == ">="]
            lines.append(f"{need.name}=={bound}")
    return lines


def tried(end: str, python: Path, folder: Path) -> bool:
    """Makes an environment, says what is in it and runs the tests."""
    start = time.perf_counter()
    subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    own = folder / "venv" / "bin" / "python"
    bounds = folder / "bounds.txt"
    oldest = first_releases(_version(python)) if end == "oldest" else []
    bounds.write_text("".join(f"{line}\n" for line in oldest), encoding="utf-8")
    pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", bounds, ".[test]"], check=True, cwd=ROOT)
    code = (
        "import json, importlib.metadata as m;"
        f"print(json.dumps([m.version(x) for x in {SHOWN}]))"
    )
    said = subprocess.run([own, "-c", code], check=True, capture_output=True, text=True)
    versions = zip(SHOWN, json.loads(said.stdout), strict=True)
    known = ", ".join(f"{name} {version}" for name, version in versions)
    print(f"{end}: Python {_version(python)}, {known}", flush=True)
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    env.pop("PYTHONPATH", None)
    done = subprocess.run([own, "-m", "pytest", "-q", *TESTS], cwd=ROOT, env=env)
    verdict = "passed" if done.returncode == 0 else "FAILED"
    print(f"{end}: {verdict}, {time.perf_counter() - start:.0f} s", flush=True)
    return done.returncode == 0


def main(ends: list[str]) -> int:
    """Both, or those that are named."""
    here = pythons()
    if not here:
        print("versions: no Python 3.11 or newer on this machine")
        return 1
    if _version(here[0]) != f"3.{FIRST}":
        print(f"versions: Python 3.{FIRST} is not here; oldest is {_version(here[0])}")
    if strange := set(ends) - {"oldest", "newest"}:
        print(f"versions: got {strange.pop()!r}, wants oldest or newest")
        return 1
    good = True
    for end in ends or ["oldest", "newest"]:
        with tempfile.TemporaryDirectory(prefix="jaxmeta-") as folder:
            python = {"oldest": here[0], "newest": here[-1]}[end]
            good = tried(end, python, Path(folder)) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
