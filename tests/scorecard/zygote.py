"""Command lines in fresh processes without the imports: a parent that only forks.

`python -m tests.scorecard.zygote` imports everything, touches no device, reads a line of
JSON for each command line, forks a child that runs it, and says its number, then its
exit status. A child is a process like any other: it can be killed at any moment.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.scorecard.score import environment


class Child:
    """One command line that is running."""

    def __init__(self, pid: int, answers, log: Path):
        self.pid, self._answers, self.log = pid, answers, log

    def wait(self) -> int:
        """Its exit status, 128 + signal for one that a signal ended."""
        return int(self._answers.readline())

    def kill_when(self, ready: Callable[[], bool], number: int, patience=120.0) -> bool:
        """Sends a signal as soon as `ready()`; False if the child was faster."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            if ready():
                try:
                    os.kill(self.pid, number)
                except ProcessLookupError:
                    return False
                return True
            if not _alive(self.pid):
                return False
            time.sleep(0.0005)
        raise TimeoutError(f"nothing happened in {patience} s: {self.log.read_text()}")


class Zygote:
    """The parent, as a context."""

    def __init__(self, folder: Path, **variables: str):
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scorecard.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(**variables),
        )

    def __enter__(self) -> "Zygote":
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def start(self, *words: str) -> Child:
        """Runs `jaxmeta words...` in a child."""
        log = self.folder / "log.txt"
        line = json.dumps({"words": words, "log": str(log), "cwd": str(self.folder)})
        self._process.stdin.write(line + "\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        answers = self._process.stdout
        return Child(int(answers.readline()), answers, log)  # type: ignore[union-attr]

    def run(self, *words: str) -> int:
        return self.start(*words).wait()


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def _child(words: list[str], log: str, cwd: str) -> None:
    import faulthandler

    os.chdir(cwd)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    faulthandler.enable()
    from jaxmeta.cli import main

    status = 1
    try:
        status = main(words)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(status)


def serve() -> None:
    """Answers on stdout until stdin ends."""
    from orbax.checkpoint import v1  # noqa: F401 (imported before the forks)

    import jaxmeta.cli
    import jaxmeta.recipes.few_shot
    import jaxmeta.report.report
    import jaxmeta.runs.training  # noqa: F401

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(**asked)
        print(pid, file=answers, flush=True)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(128 - status if status < 0 else status, file=answers, flush=True)


if __name__ == "__main__":
    serve()
