"""Checkpoints written beside the computation: the run waits for the copy, not the disk."""

import threading
from pathlib import Path

import jax
import numpy as np

from jaxmeta.core import PyTree
from jaxmeta.runs import checkpoints
from jaxmeta.runs.checkpoints import Snapshot


class Writer:
    """Writes snapshots in the background, one at a time and in order.

    What a write raises is raised by the next call. As a context it waits on leaving, so
    that no run ends, well or badly, in the middle of a checkpoint.

    Args:
      folder: `checkpoints/` of the run.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None

    def save(self, step: int, snapshot: Snapshot) -> None:
        """Copies a snapshot to the host, where no later step overwrites it."""
        self.wait()
        copy = snapshot._replace(
            state=to_host(snapshot.state), best=to_host(snapshot.best)
        )
        self._thread = threading.Thread(target=self._write, args=(step, copy))
        self._thread.start()

    def wait(self) -> None:
        """Returns when what was given is on the disk.

        Raises:
          RunError: it could not be written.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def _write(self, step: int, snapshot: Snapshot) -> None:
        try:
            checkpoints.save(self.folder, step, snapshot)
        except Exception as error:  # raised where someone is there to catch it
            self._error = error

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type | None, *exc: object) -> None:
        if kind is None:
            self.wait()
        elif self._thread is not None:
            self._thread.join()  # the first error is the one to tell


def to_host(tree: PyTree) -> PyTree:
    """A copy in host memory; NumPy's view of an array on a CPU is no copy."""
    return jax.tree.map(lambda x: np.array(x, copy=True), tree)
