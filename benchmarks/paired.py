"""Is a method above its control? Trained runs on the same test episodes, in pairs.

    jaxmeta train omniglot-simple_shot-5w1s --data OMNIGLOT --out runs/simple_shot
    jaxmeta train omniglot-r2d2-5w1s --data OMNIGLOT --out runs/r2d2
    python -m benchmarks.paired runs/simple_shot runs/r2d2   # writes results/paired.json
    python -m benchmarks.tables                              # writes the table of README.md

The first run is the control. Test episodes depend on the data alone, so that every run sees
the same ones, and the interval of a difference is that of paired differences: narrower
than two intervals side by side, since an episode that is hard is hard for both.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from jaxmeta.runs.build import build
from jaxmeta.runs.evaluate import load_snapshot
from jaxmeta.runs.train import chosen

from benchmarks import common
from jaxmeta.runs import folder, keys, loop
from jaxmeta.runs.folder import RunFolder
from jaxmeta.train.evaluate import interval

RESULT = Path(__file__).parent / "results" / "paired.json"
SAME = ("dataset", "split", "size", "rotations", "ways", "shots", "queries")
KEPT = ("learner", "steps", "tasks", "seed", "train_ways", "train_queries")


def scored(path: Path, episodes: int) -> tuple[dict, dict, np.ndarray, bool]:
    """What the episodes are, how the run was trained, and its accuracy on each."""
    recipe = folder.read_config(path)
    job = build(recipe)
    meta, _ = chosen(recipe, load_snapshot(RunFolder(path), job))
    found = loop.score(job, meta, job.tasks.test, keys.test(), episodes)
    same, kept = ({n: getattr(recipe, n) for n in names} for names in (SAME, KEPT))
    return same, kept, found.scores, found.transductive


def compare(paths: list[Path], episodes: int) -> dict:
    rows: list[dict] = []
    control = None
    for path in paths:
        same, kept, scores, transductive = scored(path, episodes)
        control = (same, scores) if control is None else control
        if same != control[0]:
            raise SystemExit(f"{path}: got episodes {same}, wants {control[0]}")
        mean, ci95 = interval(scores)
        apart, apart_ci95 = interval(scores - control[1])
        rows.append({
            **kept, "accuracy": mean, "ci95": ci95, "transductive": transductive,
            "difference": apart, "difference_ci95": apart_ci95,
        })  # fmt: skip
    return {
        "machine": common.machine(), "episodes": episodes, **control[0], "runs": rows
    }  # fmt: skip


def table(found: dict) -> str:
    first = found["runs"][0]
    lines = [
        f"{found['dataset']}, {found['ways']}-way {found['shots']}-shot, "
        f"{found['queries']} queries a class, {found['episodes']:,} episodes; points above "
        f"`{first['learner']}`.",
        "",
        "| `jm.` | outer steps x tasks | accuracy | above the control |",
        "|---|---|---|---|",
    ]
    for n, row in enumerate(found["runs"]):
        accuracy = f"{100 * row['accuracy']:.2f} ± {100 * row['ci95']:.2f} %"
        apart = f"{100 * row['difference']:+.2f} ± {100 * row['difference_ci95']:.2f}"
        transductive = ", transductive" if row["transductive"] else ""
        lines.append(
            f"| `{row['learner']}` | {row['steps']:,} x {row['tasks']}{transductive} | "
            f"{accuracy} | {apart if n else 'the control'} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("control", type=Path, help="the folder of the control's run")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of other runs")
    parser.add_argument("--episodes", type=int, default=1000, help="test episodes")
    args = parser.parse_args()
    found = compare([args.control, *args.runs], args.episodes)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
