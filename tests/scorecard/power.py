"""Power cuts: the process ends before its N-th file operation, and what was not synced
is lost.

`python -m tests.scorecard.power FOLDER EVERY`, loaded with the library of `faults.c`,
which knows what was written and what was synced since.
"""

import ctypes
import json
import os
import shutil
import sys
from pathlib import Path

from tests.scorecard.score import Score, Tally

CUT, WHOLE = 137, 138
"""How a child ends: before its N-th operation, or after the save has returned."""
LOSSES = ("kept", "zero", "half", "names")
"""What becomes of what was not synced: it is there all the same; files are empty; files
are cut in half; the names that folders had since are gone."""


def cuts(root: Path, every: int) -> Score:
    """A save, cut before each of its operations in turn: whatever is lost, a whole step
    restores bit for bit; once the save has returned, it is the new one."""
    if _child(lambda: _first(root / "base")):
        return Score(0, 1, "the first checkpoint could not be written")
    states, n, status = [], 0, CUT
    while status == CUT:
        n += every
        work = shutil.copytree(root / "base", root / f"at-{n}")
        status = _child(lambda work=work, n=n: _cut(work, n))
        states.append((f"cut at {n}", work, status))
    tally = Tally()
    for name, work, status in states:
        if status not in (CUT, WHOLE):
            tally.add(False, f"{name}: status {status}")
            continue
        for loss in LOSSES:
            tally.add(*_survives(work, loss, status == WHOLE, name))
    return tally.score(f"{len(states)} power cuts x {len(LOSSES)} losses")


def _child(work) -> int:
    """Runs in a fork; this process must not have touched a device before."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _first(base: Path) -> None:
    from tests.scorecard.storage import saved

    base.mkdir()
    saved(base, (1,))


def _cut(work: Path, n: int) -> None:
    from jaxmeta.runs import checkpoints
    from tests.scorecard.storage import snapshot

    library, folder = ctypes.CDLL(None), work / "checkpoints"
    library.fault_log(str(work / "log").encode())
    library.fault_arm(ctypes.c_long(n), -1, 0, str(folder).encode())
    checkpoints.save(folder, 2, snapshot(2), keep=5)
    library.fault_cut(WHOLE)


def _survives(work: Path, loss: str, whole: bool, name: str) -> tuple[bool, str]:
    from tests.scorecard.storage import restored

    unsynced = _unsynced(work / "log")
    copy = work / loss
    shutil.copytree(work / "checkpoints", copy)
    for path in [*sorted((work / "checkpoints").rglob("*")), work / "checkpoints"]:
        if path.stat().st_ino in unsynced:
            _lose(copy / path.relative_to(work / "checkpoints"), loss, copy)
    try:
        step, said = restored(copy)
    except Exception as error:
        step, said = None, [f"{type(error).__name__}: {error}"]
    good = (step, said) == (2, []) if whole else step in (1, 2) and len(said) <= 1
    return good, f"{name}, {loss}: step {step}, {said}"


def _unsynced(log: Path) -> set[int]:
    """Inodes whose last event is a write."""
    last = {}
    for line in log.read_text().splitlines():
        written, inode = line.split()
        last[int(inode)] = written == "1"
    return {inode for inode, written in last.items() if written}


def _lose(path: Path, loss: str, folder: Path) -> None:
    if loss == "kept" or not path.exists():
        return
    if path.is_file() and loss in ("zero", "half"):
        size = path.stat().st_size // 2 if loss == "half" else 0
        os.truncate(path, size)
    if path.is_dir() and loss == "names":
        new = folder / "00000002"
        if path == folder:  # the step has the name it was written under
            if new.exists():
                os.replace(new, folder / ".part-00000002")
            return
        for entry in path.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


if __name__ == "__main__":
    from orbax.checkpoint import v1  # noqa: F401 (imported before the forks)

    import jaxmeta.runs.checkpoints  # noqa: F401

    print(json.dumps(cuts(Path(sys.argv[1]), int(sys.argv[2]))))
