"""Run folders of every format that was ever released go on loading.

`python -m tests.scorecard.old FOLDER` writes the one of this version: a run of two steps
and the hash of what is in its last checkpoint.
"""

import json
import shutil
import sys
from pathlib import Path

from jaxmeta.runs.build import build

from jaxmeta.runs import folder
from jaxmeta.runs.evaluate import load_snapshot
from jaxmeta.runs.folder import RunFolder
from tests.scorecard.score import Score, Tally, digest, scratch

FORMATS = Path(__file__).parent / "formats"


def formats(root: Path = FORMATS) -> Score:
    """OLD-CKPT: the run folder of each released format restores with the same hash."""
    tally = Tally()
    for kept in sorted(p for p in root.glob("*") if p.is_dir()):
        with scratch() as work:
            run = shutil.copytree(kept, work / "run")
            wanted = json.loads((run / "expected.json").read_text())["sha256"]
            tally.case(kept.name, lambda run=run, wanted=wanted: _hash(run) == wanted)
    if not tally.tried:
        return Score(0, 1, f"no fixtures in {root}: run from a source checkout")
    return tally.score()


def _hash(run: Path) -> str:
    job = build(folder.read_config(run))
    return digest(load_snapshot(RunFolder(run), job)[:3])


def write(out: Path) -> None:
    """Trains the tiny run of this version into `out` and keeps what has to load."""
    from jaxmeta.cli import main

    words = "train sinusoid-maml --hidden 4 --steps 2 --tasks 2 --shots 5 --queries 5"
    small = "--chunk 2 --episodes 4 --validate-episodes 4 --checkpoint-every 2"
    with scratch() as work:  # a checkpoint holds the path that it was written to
        run = work / "run"
        if status := main([*words.split(), *small.split(), "--out", str(run)]):
            raise SystemExit(status)
        shutil.copytree(run, out)
    for file in out.glob("*"):
        if file.is_file() and file.name != "config.json":
            file.unlink()
    expected = json.dumps({"sha256": _hash(out)})
    (out / "expected.json").write_text(expected + "\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
