"""Runs that are killed, and told to stop, at random moments."""

import json
import random
import signal
import time
from pathlib import Path

from jaxmeta.runs import folder, load
from tests.scorecard import tiny
from tests.scorecard.score import Score, Tally, digest, scratch
from tests.scorecard.zygote import Zygote


def kill(kills: int = 20, steps: int = 200, seed: int = 0) -> Score:
    """KILL: SIGKILL at random moments, half of them inside a save; the same command
    goes on, and ends with the same bits and the same metrics as a run that was never
    killed."""
    rng, tally = random.Random(seed), Tally()
    targets = sorted(rng.sample(range(2, steps - 10), kills))
    inside = 0
    with scratch() as root, Zygote(root) as zygote:
        words = ["train", *tiny.WORDS, "--steps", str(steps), "--checkpoint-every", "5"]
        first = zygote.run(*words, "--out", "whole")
        if first:
            return Score(0, kills, f"the run itself fails: {_log(root)}")
        whole = _losses(root / "whole")
        for i, target in enumerate(targets):
            child = zygote.start(*words, "--out", "killed")
            saving = i % 2 == 0

            def ready(target=target, saving=saving):
                if _last_step(root / "killed") < target:
                    return False
                return not saving or _saving(root / "killed")

            hit = child.kill_when(ready, signal.SIGKILL)
            parts = _saving(root / "killed")
            inside += hit and parts
            status = child.wait()
            good = hit and status == 137
            good &= _losses(root / "killed").items() <= whole.items()
            tally.add(good, f"kill {i} at step {target}: status {status}")
        status = zygote.run(*words, "--out", "killed")
        same = _final(root / "killed") == _final(root / "whole") and status == 0
        log = _log(root)
    score = tally.score(f"{inside} of the kills inside a save, {steps} steps")
    if not same:
        note = f"the end differs from a run that was not killed ({score.note}; {log})"
        return Score(0, kills, note)
    return score


def terminate(times: int = 10, steps: int = 200, seed: int = 1) -> Score:
    """SIGTERM: saved and gone within 30 s, status 143, no step lost; SIGTERM during the
    start, before there is anything to lose, also ends with 143."""
    rng, tally, slowest = random.Random(seed), Tally(), 0.0
    targets = sorted(rng.sample(range(1, steps - 10), times))
    with scratch() as root, Zygote(root) as zygote:
        words = [
            "train",
            *tiny.WORDS,
            "--steps",
            str(steps),
            "--checkpoint-every",
            "1000",
        ]
        for target in targets:
            child = zygote.start(*words, "--out", "run")
            hit = child.kill_when(
                lambda target=target: _last_step(root / "run") >= target, signal.SIGTERM
            )
            start = time.monotonic()
            status = child.wait()
            took = time.monotonic() - start
            slowest = max(slowest, took)
            lost = _last_step(root / "run") - _saved(root / "run")
            tally.add(
                hit and status == 143 and took <= 30 and lost == 0,
                f"step {target}: status {status}, {took:.1f} s, {lost} steps lost",
            )
    return tally.score(f"slowest {slowest:.2f} s")


def _rows(out: Path) -> list[dict]:
    return folder.Metrics(out / "metrics.jsonl").read()


def _losses(out: Path) -> dict[int, str]:
    """Step -> its line of the log, without what the clock decides."""
    return {
        row["step"]: json.dumps({**row, "tasks_per_second": 0}, sort_keys=True)
        for row in _rows(out)
    }


def _last_step(out: Path) -> int:
    try:
        with open(out / "metrics.jsonl", "rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - 600, 0))
            lines = file.read().split(b"\n")[:-1]
        return json.loads(lines[-1])["step"]
    except (OSError, ValueError, IndexError):
        return -1


def _saving(out: Path) -> bool:
    return any((out / "checkpoints").glob(".part-*"))


def _saved(out: Path) -> int:
    steps = [int(p.name) for p in (out / "checkpoints").iterdir() if p.name.isdigit()]
    return max(steps, default=-1)


def _final(out: Path) -> tuple:
    """Hash of state, best and key; best score; the log."""
    snapshot = load(out).snapshot
    return digest(snapshot[:3]), json.dumps(snapshot.info["best"]), _losses(out)


def _log(root: Path) -> str:
    return (root / "log.txt").read_text()[-300:]
