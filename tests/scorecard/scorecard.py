"""The reliability scorecard: every promise, and how often it was kept when tried."""

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import jaxmeta
from tests.scorecard import (
    bits,
    crash,
    disk,
    fetch,
    fleet,
    fuzz,
    honesty,
    hostile,
    inputs,
    limits,
    numbers,
    old,
    pictures,
    storage,
    suite,
    supply,
)
from tests.scorecard.score import Score

SOME = ["maml", "protonet"]

CHECKS: dict[str, tuple[Callable[..., Score], dict]] = {
    "KILL-20": (crash.kill, {"kills": 3, "steps": 60}),
    "SIGTERM": (crash.terminate, {"times": 2, "steps": 60}),
    "BITFLIP-200": (storage.bitflip, {"flips": 40}),
    "FALLBACK": (storage.fallback, {"every": 4}),
    "DISK-FULL": (disk.full, {}),
    "IO-SWEEP": (disk.sweep, {"every": 9}),
    "DOWNLOAD-8": (fetch.downloads, {}),
    "OLD-CKPT": (old.formats, {}),
    "SAME-BITS": (bits.same_bits, {"learners": ["maml"], "steps": 20}),
    "DEVICES-1248": (fleet.devices, {"steps": 5}),
    "LOOPBACK-2": (fleet.loopback, {"steps": 5}),
    "KEYS": (bits.keys, {"learners": SOME}),
    "CLOSED-FORM": (suite.closed_form, {}),
    "FD-MUTANT": (suite.mutants, {}),
    "NONFINITE": (numbers.nonfinite, {"bad_steps": 100}),
    "QUERY-INDEPENDENT": (honesty.query_independent, {"learners": SOME}),
    "DISJOINT": (honesty.disjoint, {}),
    "BURST-LEAK": (honesty.burst, {}),
    "LABEL-NULL": (honesty.label_null, {"episodes": 200, "learners": SOME}),
    "CI-COVERAGE": (honesty.coverage, {}),
    "BAD-INPUT-60": (inputs.bad_input, {}),
    "FUZZ-10k": (fuzz.fuzz, {"each": 500}),
    "NO-EXEC": (hostile.no_exec, {}),
    "IMAGES-9": (pictures.images, {}),
    "OOM": (limits.oom, {}),
    "SUPPLY": (supply.supply, {}),
}
"""Check -> the function, and its arguments in the fast tier."""


def run(
    names: list[str] | None = None,
    *,
    fast: bool = False,
    out: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, dict]:
    """Runs checks and says what came of each, as passed/tried.

    Args:
      names: some of `CHECKS`; all by default.
      fast: the small tier.
      out: a JSON file, written after every check; checks that are in it already and were
        not asked for by name stay.
      say: takes a line for each check.

    Returns:
      Check -> `{"passed", "tried", "note", "seconds", "tier", "version"}`.

    Raises:
      ValueError: an unknown check.
    """
    for name in names or ():
        if name not in CHECKS:
            raise ValueError(f"check: got {name!r}, wants some of {', '.join(CHECKS)}")
    found = {}
    if out is not None and names and out.exists():
        found = json.loads(out.read_text(encoding="utf-8"))["checks"]
    for name in names or CHECKS:
        check, small = CHECKS[name]
        start = time.perf_counter()
        try:
            score = check(**(small if fast else {}))
        except Exception as error:  # a check that breaks is a check that failed
            score = Score(0, 1, f"{type(error).__name__}: {str(error)[:300]}")
        seconds = round(time.perf_counter() - start, 1)
        tier = "fast" if fast else "full"
        made = {"tier": tier, "version": jaxmeta.__version__}
        found[name] = {**score._asdict(), "seconds": seconds, **made}
        say(f"{name:<18} {score!s:>11}  {score.note}")
        if out is not None:
            _write(out, found)
    return found


def _write(out: Path, found: dict[str, dict]) -> None:
    from jaxmeta.runs.files import write_json

    order = {name: found[name] for name in CHECKS if name in found}
    about = {"platform": platform.platform(), "python": platform.python_version()}
    write_json(out, {**about, "checks": order})
