"""Checks that are tests of the suite already: run, and counted."""

import re
import subprocess
import sys
from pathlib import Path

from tests.scorecard.score import Score, environment

ROOT = Path(__file__).parents[2]
VALUES = ("tests/reference", "tests/learners/test_exact_values.py")
MUTANTS = ("tests/test_mutants.py", "tests/learners/test_gradients.py")


def closed_form() -> Score:
    """CLOSED-FORM: meta-gradients against values of multi-precision arithmetic."""
    return _tests(*VALUES)


def mutants() -> Score:
    """FD-MUTANT: finite differences in float64 agree for every learner, and six wrong
    gradients, one of them by a factor of 1.0001, are told from the right one."""
    return _tests(*MUTANTS)


def _tests(*paths: str) -> Score:
    if not (ROOT / paths[0]).exists():
        return Score(0, 1, f"no {paths[0]}: run from a source checkout")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    last = (done.stdout.strip().splitlines() or [done.stderr[-300:]])[-1]
    counts = {
        word: int(n) for n, word in re.findall(r"(\d+) (passed|failed|error)", last)
    }
    passed, tried = counts.get("passed", 0), sum(counts.values())
    if done.returncode and passed == tried:  # it broke, whatever it counted
        return Score(passed, tried + 1, last[-300:])
    return Score(passed, tried, ", ".join(paths))
