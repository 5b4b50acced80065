"""Run folders of every format that was ever released: read, or refused in one line.

`python -m tests.scorecard.old FOLDER` writes the one of this version: a finished run of
two steps, and the hash of what is in its last checkpoint.
"""

import json
import shutil
import sys
from pathlib import Path

from jaxmeta.runs import load
from tests.scorecard.inputs import call
from tests.scorecard.score import Score, Tally, digest, scratch

FORMATS = Path(__file__).parent / "formats"
COMMANDS = (
    ("evaluate", "{run}"),
    ("train", "{run}"),
    ("train", "--fork", "{run}", "--out", "{run}-2"),
    ("export", "{run}"),
    ("adapt", "{run}", "--support", ".", "--query", "."),
)
"""What someone does with an old run."""


def formats(root: Path = FORMATS) -> Score:
    """OLD-CKPT: the run folder of each released format restores with the same hash, or
    every command refuses it in one line that says which version reads it."""
    tally = Tally()
    for kept in sorted(p for p in root.glob("*") if p.is_dir()):
        with scratch() as work:
            run = shutil.copytree(kept, work / "run")
            wanted = json.loads((run / "expected.json").read_text())
            if "refused" in wanted:
                for words in COMMANDS:
                    said = _refused(run, words)
                    good = wanted["refused"] in said and said.count("\n") == 1
                    tally.add(good, f"{kept.name}, {words[0]}: {said}")
            else:
                tally.case(
                    kept.name, lambda run=run, wanted=wanted: _facts(run) == wanted
                )
    if not tally.tried:
        return Score(0, 1, f"no fixtures in {root}: run from a source checkout")
    return tally.score()


def _refused(run: Path, words: tuple[str, ...]) -> str:
    """The line on stderr, if the status is that of bad input and nothing was touched."""
    before = sorted(run.parent.rglob("*"))
    status, said = call([word.format(run=run) for word in words])
    untouched = sorted(run.parent.rglob("*")) == before
    return said if status == 2 and untouched else f"status {status}: {said}"


def _facts(out: Path) -> dict:
    run = load(out)
    result = run.result or {}
    return {
        "sha256": digest(run.snapshot[:3]),
        "accuracy": result.get("accuracy"),
        "rows": len(run.metrics),
        "version": run.config.version,
    }


def write(out: Path) -> None:
    """Trains the tiny run of this version into `out` and keeps what has to load."""
    words = (
        "train --network mlp --hidden 4 --size 8 --ways 2 --train-ways None --shots 1"
    )
    few = "--queries 2 --steps 2 --batch 2 --chunk 2 --episodes 4 --validate-episodes 4"
    with scratch() as work:  # a checkpoint holds the path that it was written to
        run = work / "run"
        status, said = call([*words.split(), *few.split(), "--out", str(run)])
        if status:
            raise SystemExit(said)
        shutil.copytree(run, out)
    for file in ("report.html", "metrics.csv"):
        (out / file).unlink()
    (out / "expected.json").write_text(json.dumps(_facts(out)) + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
