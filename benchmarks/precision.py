"""What half precision costs in accuracy: the same recipes in float32 and in bfloat16.

    python -m benchmarks.precision [--seeds 2]     # writes results/precision.json
    python -m benchmarks.tables                    # writes the table of README.md

Glyphs are drawn, so nothing is downloaded. `--precision bfloat16` computes the network in
half precision; parameters, fast weights and statistics stay float32. A recipe, a seed and
a precision are a run of the command line; the episodes of a seed are the same for both.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks import common

RESULT = Path(__file__).parent / "results" / "precision.json"
RECIPES = ("glyphs-protonet-5w1s", "glyphs-maml-5w1s")
PRECISIONS = ("float32", "bfloat16")
KEPT = ("accuracy", "ci95", "episodes", "ways", "shots", "queries", "steps", "tasks",
        "transductive")  # fmt: skip


def train(recipe: str, precision: str, seed: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [
            sys.executable, "-m", "jaxmeta", "train", recipe, "--precision", precision,
            "--seed", str(seed), "--out", str(out),
        ]  # fmt: skip
        subprocess.run(command, capture_output=True, text=True, check=True)
        result = json.loads((out / "result.json").read_text())
    facts = {name: result[name] for name in KEPT}
    return {"recipe": recipe, "precision": precision, "seed": seed, **facts}


def table(found: dict) -> str:
    lines = [
        "| recipe | seed | float32 | bfloat16 | difference |",
        "|---|---|---|---|---|",
    ]
    rows = {(r["recipe"], r["seed"], r["precision"]): r for r in found["runs"]}
    for recipe, seed in sorted({key[:2] for key in rows}):
        full, half = (rows[recipe, seed, p] for p in PRECISIONS)
        cells = [
            f"{100 * r['accuracy']:.2f} ± {100 * r['ci95']:.2f} %" for r in (full, half)
        ]
        apart = 100 * (half["accuracy"] - full["accuracy"])
        transductive = ", transductive" if full["transductive"] else ""
        taken = f"{full['steps']} x {full['tasks']}{transductive}"
        lines.append(
            f"| {recipe}, {taken} | {seed} | {' | '.join(cells)} | {apart:+.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds", type=int, default=2, help="seeds 0 to this, less one"
    )
    seeds = range(parser.parse_args().seeds)
    cases = [(r, p, s) for s in seeds for r in RECIPES for p in PRECISIONS]
    with ThreadPoolExecutor(common.cores()) as pool:
        runs = list(pool.map(lambda case: train(*case), cases))
    found = {"machine": common.machine(), "runs": runs}
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
