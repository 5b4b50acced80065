"""Out of memory: which knobs the error names, and that what was saved is whole."""

from tests.scorecard import tiny
from tests.scorecard.score import Score, Tally, scratch
from tests.scorecard.zygote import Zygote

KNOBS = ("--batch", "--task-chunk", "--inner-steps", "--gradient first_order", "remat")


def oom() -> Score:
    """OOM: a run too large for the memory ends with status 1 and one line that names
    what to turn down; what was saved is whole and goes on."""
    tally = Tally()
    with scratch() as root, Zygote(root) as zygote:
        small = ["train", *tiny.WORDS, "--steps", "20"]
        status = zygote.run(*small, "--out", "old")
        tally.add(status == 0, f"the small run: {status}")
        # a terabyte of activations: refused at once, before a page of it is touched
        huge = ["--fork", "old", "--steps", "40", "--batch", "500000000"]
        status = zygote.run("train", *huge, "--out", "new", "--validate-every", "0")
        said = (root / "log.txt").read_text().splitlines()
        line = said[-1] if said else ""
        tally.add(status == 1, f"status {status}: {line[:200]}")
        missing = [knob for knob in KNOBS if knob not in line]
        tally.add(not missing, f"does not name {missing}: {line[:200]}")
        status = zygote.run("evaluate", "new", "--episodes", "4")
        tally.add(status == 0, f"the last checkpoint does not restore: {status}")
    return tally.score("device memory of the CPU backend; the exit status is 1")
