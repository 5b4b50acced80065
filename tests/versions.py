"""Both ends of what is supported, in one command: `python -m tests.versions [oldest|newest]`.

    oldest    the first Python of pyproject.toml, and the first release of each package in it
    newest    the last Python on this machine, and what pip gives it

Each in an environment of its own: the laws of learners on a small network, the reference
problems, the README. `.ci/run` tests all with the one Python that it has. With `--keep FOLDER`
the environments and what XLA compiled stay there, and a second try goes on with them.
"""

import argparse
import contextlib
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


def tools() -> list[str]:
    """What the tests need: the extra "test", less the extras that it takes with it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = project["project"]["optional-dependencies"]["test"]
    return [line for line in lines if not line.startswith("jaxmeta[")]


def environment(end: str, python: Path, folder: Path) -> Path:
    """Makes one, unless it is there, and installs; its Python."""
    own = folder / "venv" / "bin" / "python"
    if not own.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
    bounds = folder / "bounds.txt"
    oldest = first_releases(_version(python)) if end == "oldest" else []
    bounds.write_text("".join(f"{line}\n" for line in oldest), encoding="utf-8")
    pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-compile", "-c", bounds]
    subprocess.run([*pip, ".", *tools()], check=True, cwd=ROOT)
    return own


def tried(end: str, python: Path, folder: Path) -> bool:
    """Says what is in an environment and runs the tests."""
    start = time.perf_counter()
    own = environment(end, python, folder)
    installed = time.perf_counter() - start
    code = (
        "import json, importlib.metadata as m;"
        f"print(json.dumps([m.version(x) for x in {SHOWN}]))"
    )
    said = subprocess.run([own, "-c", code], check=True, capture_output=True, text=True)
    versions = zip(SHOWN, json.loads(said.stdout), strict=True)
    known = ", ".join(f"{name} {version}" for name, version in versions)
    print(f"{end}: Python {_version(python)}, {known}; {installed:.0f} s", flush=True)
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    env["JAX_COMPILATION_CACHE_DIR"] = str(folder / "xla")
    env["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    env.pop("PYTHONPATH", None)
    done = subprocess.run([own, "-m", "pytest", "-q", *TESTS], cwd=ROOT, env=env)
    # a process that XLA ends says nothing: the status is all that is known
    failed = f"FAILED, exit status {done.returncode}"
    verdict = "passed" if done.returncode == 0 else failed
    print(f"{end}: {verdict}, {time.perf_counter() - start:.0f} s", flush=True)
    return done.returncode == 0


def main() -> int:
    """Both, or the one that is named."""
    parser = argparse.ArgumentParser(prog="python -m tests.versions")
    parser.add_argument("ends", nargs="*", help="oldest, newest; both by default")
    parser.add_argument("--keep", type=Path, help="a folder for the environments")
    asked = parser.parse_args()
    if strange := set(asked.ends) - {"oldest", "newest"}:
        print(f"versions: got {strange.pop()!r}, wants oldest or newest")
        return 1
    here = pythons()
    if not here:
        print("versions: no Python 3.11 or newer on this machine")
        return 1
    if _version(here[0]) != f"3.{FIRST}":
        print(f"versions: Python 3.{FIRST} is not here; oldest is {_version(here[0])}")
    good = True
    for end in asked.ends or ["oldest", "newest"]:
        python = {"oldest": here[0], "newest": here[-1]}[end]
        with contextlib.ExitStack() as stack:
            if asked.keep is None:
                new = tempfile.TemporaryDirectory(prefix="jaxmeta-")
                folder = Path(stack.enter_context(new))
            else:
                folder = asked.keep.absolute() / end
            good = tried(end, python, folder) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
