"""Is a method above its control? Trained runs on the same test episodes, in pairs.

    jaxmeta train omniglot-simple_shot-5w1s --data OMNIGLOT --out runs/simple_shot
    jaxmeta train omniglot-r2d2-5w1s --data OMNIGLOT --out runs/r2d2
    python -m benchmarks.paired runs/simple_shot runs/r2d2   # writes results/paired.json
    python -m benchmarks.tables                              # writes the table of README.md

The first run is the control. `jaxmeta compare` does the work: it refuses runs on other
episodes, and transductive ones beside inductive ones.
"""

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks import common
from jaxmeta.runs import compare

RESULT = Path(__file__).parent / "results" / "paired.json"


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
        apart = "the control"
        if n:
            apart = (
                f"{100 * row['difference']:+.2f} ± {100 * row['difference_ci95']:.2f}"
            )
        transductive = ", transductive" if row["transductive"] else ""
        lines.append(
            f"| `{row['learner']}` | {row['steps']:,} x {row['batch']}{transductive} | "
            f"{accuracy} | {apart} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("control", type=Path, help="the folder of the control's run")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of other runs")
    parser.add_argument("--episodes", type=int, default=1000, help="test episodes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        found = compare([args.control, *args.runs], episodes=args.episodes, out=out)
    found = {"machine": common.machine(), **found}
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
