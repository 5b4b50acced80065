"""What a reliability check returns, and small helpers that the checks share."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from jaxmeta.core import PyTree


class Score(NamedTuple):
    """`passed` of `tried`, and what there is to say about it."""

    passed: int
    tried: int
    note: str = ""

    def __str__(self) -> str:
        return f"{self.passed}/{self.tried}"


class Tally:
    """Counts what passes, and remembers the first thing that did not."""

    def __init__(self) -> None:
        self.passed, self.tried, self.failures = 0, 0, []

    def add(self, good: bool, what: str) -> None:
        self.tried += 1
        self.passed += bool(good)
        if not good:
            self.failures.append(what)

    def case(self, what: str, check: Callable[[], object]) -> None:
        """Adds a case that passes unless `check` raises or returns False."""
        try:
            good = check() is not False
        except Exception as error:
            good, what = False, f"{what} ({type(error).__name__}: {str(error)[:120]})"
        self.add(good, what)

    def score(self, note: str = "") -> Score:
        shown = "; ".join(self.failures[:3])
        failed = f"failed: {shown}" if self.failures else ""
        return Score(self.passed, self.tried, "; ".join(filter(None, [note, failed])))


def digest(tree: PyTree) -> str:
    """SHA-256 of all leaves: shapes, types and bits."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.ascontiguousarray(leaf)
        found.update(f"{array.dtype}{array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A new folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="jaxmeta-") as folder:
        yield Path(folder)


def environment(**more: str) -> dict[str, str]:
    """The environment of a child process: the CPU, and this copy of jaxmeta."""
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": path, **more}
