"""Disks that fail: every file operation of a save in turn, and one that is really full.

Each is a program of its own (`python -m tests.scorecard.disk sweep|full FOLDER ...`):
the sweep is loaded with a library that fails system calls, so that what Orbax writes
fails too, and the full disk is a small one mounted for it alone.
"""

import ctypes
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.scorecard.score import Score, Tally, environment, scratch

FAULTS = Path(__file__).parent / "faults.c"
ERRORS = ("ENOSPC", "EIO", "EACCES", "EROFS")


def sweep(every: int = 1) -> Score:
    """IO-SWEEP: the N-th operation of a save fails, for N = 1 to the end: the step is
    whole or not there, the one before restores bit for bit, the error has a name. And
    power cuts before the N-th, after which what was not synced is lost (`power`)."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return Score(0, 0, "needs Linux and a C compiler")
    with scratch() as root:
        source, library = root / "faults.c", root / "faults.so"
        source.write_text(FAULTS.read_text())
        command = [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", library, source]
        subprocess.run([*command, "-ldl"], check=True)
        errors, cuts = root / "errors", root / "cuts"
        errors.mkdir()
        cuts.mkdir()
        found = [
            _program("disk", "sweep", errors, str(every), LD_PRELOAD=str(library)),
            _program("power", cuts, str(every), LD_PRELOAD=str(library)),
        ]
    passed, tried = (sum(x[i] for x in found) for i in range(2))
    return Score(passed, tried, "; ".join(x.note for x in found))


def full() -> Score:
    """DISK-FULL: a 9 MB disk that is full in five places: arrays, manifest, log, cache,
    export. The error names path and room, nothing half is left, and it goes on later."""
    if shutil.which("unshare") is None:
        return Score(0, 0, "needs unshare")
    with scratch() as root:
        disk = root / "disk"
        disk.mkdir()
        mount = f'mount -t tmpfs -o size=9m tmpfs "{disk}" && exec "$@"'
        before = ("unshare", "-m", "sh", "-c", mount, "sh")
        return _program("disk", "full", disk, before=before)


def _program(module: str, *words: object, before=(), **variables) -> Score:
    command = [*before, sys.executable, "-m", f"tests.scorecard.{module}"]
    done = subprocess.run(
        [*command, *map(str, words)],
        env=environment(**variables),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        return Score(0, 1, f"could not run: {done.stderr[-300:]}")
    return Score(*json.loads(done.stdout.splitlines()[-1]))


def _sweep(root: Path, every: int) -> Score:
    from jaxmeta.runs import checkpoints
    from jaxmeta.runs.errors import RunError
    from tests.scorecard.storage import restored, saved, snapshot

    library = ctypes.CDLL(None)
    library.fault_count.restype = ctypes.c_long

    def arm(n: int, code: int) -> None:
        # a disk that fails goes on failing: all later operations fail as well
        stays = code != errno.EIO
        library.fault_arm(ctypes.c_long(n), code, int(stays), str(folder).encode())

    tally, operations = Tally(), []
    folder = saved(root, (1,))
    for name in ERRORS:
        n = 0
        while True:
            n += every
            arm(n, getattr(errno, name))
            try:
                checkpoints.save(folder, 2, snapshot(2), keep=5)
                raised = ""
            except RunError as error:
                raised = str(error)
            except Exception as error:
                raised = f"UNTYPED {type(error).__name__}: {error}"
            reached = library.fault_count() >= n
            library.fault_arm(ctypes.c_long(0), 0, 0, b"")
            step, said = restored(folder)
            # whole or not at all, and the caller knows which
            good = step == (1 if raised else 2) and not said
            good &= not raised or (str(folder) in raised and "UNTYPED" not in raised)
            if reached:
                tally.add(good, f"{name} at {n}: step {step}, {said}, {raised[:90]}")
            shutil.rmtree(folder / "00000002", ignore_errors=True)
            for left in folder.glob(".part*"):
                shutil.rmtree(left)
            if not reached:
                break
        operations.append(n - every)
    return tally.score(f"{len(ERRORS)} errors x {operations} operations of a save")


def _full(disk: Path) -> Score:
    import numpy as np

    from jaxmeta.data import from_counts
    from jaxmeta.data.cache import cached
    from jaxmeta.runs import checkpoints
    from jaxmeta.runs.errors import RunError
    from jaxmeta.runs.files import write_json
    from jaxmeta.runs.folder import Metrics
    from tests.scorecard.storage import restored, saved, snapshot

    tally, folder, ballast = Tally(), saved(disk, (1,)), disk / "ballast"

    def fill(leave: int) -> None:
        ballast.unlink(missing_ok=True)
        room = shutil.disk_usage(disk).free - leave
        ballast.write_bytes(bytes(max(room, 0)))

    def save_fails() -> bool:
        try:
            checkpoints.save(folder, 2, snapshot(2))
        except RunError as error:
            told = str(folder) in str(error) and "MB free" in str(error)
            return (
                told and not list(folder.glob(".part*")) and restored(folder) == (1, [])
            )
        return False

    for place, leave in (("array", 0), ("manifest", _size(folder / "00000001") - 4096)):
        fill(leave)
        tally.case(place, save_fails)

    log = Metrics(disk / "metrics.jsonl")
    ballast.unlink()
    log.append({"step": 1})
    fill(0)

    def log_fails() -> bool:
        try:
            for step in range(2000):
                log.append({"step": 2 + step, "loss": 0.0})
        except OSError as error:
            return error.errno == errno.ENOSPC and log.read()[0] == {"step": 1}
        return False

    def cache_goes_without() -> bool:
        import warnings

        data = from_counts(np.arange(4096), [4096], ("a",))
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            got = cached("name", "key", lambda: data, disk / "cache")
        left = list((disk / "cache").glob("*")) if (disk / "cache").exists() else []
        return (
            got is data and "could not be written" in str(seen[0].message) and not left
        )

    def export_fails() -> bool:
        try:
            write_json(disk / "result.json", list(range(100_000)))
        except OSError as error:
            return error.errno == errno.ENOSPC and not list(disk.glob("*result.json*"))
        return False

    tally.case("log", log_fails)
    fill(0)
    tally.case("cache", cache_goes_without)
    fill(0)
    tally.case("export", export_fails)
    ballast.unlink()

    def goes_on() -> bool:
        checkpoints.save(folder, 2, snapshot(2))
        return restored(folder) == (2, [])

    tally.case("after room is made", goes_on)
    return tally.score("five places, and going on once there is room")


def _size(folder: Path) -> int:
    return sum(
        -(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*") if p.is_file()
    )


if __name__ == "__main__":
    kind, place = sys.argv[1], Path(os.path.abspath(sys.argv[2]))
    score = _sweep(place, int(sys.argv[3])) if kind == "sweep" else _full(place)
    print(json.dumps(score))
