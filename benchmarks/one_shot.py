r"""One alphabet, another hand: which alphabets are hard, and what is taken for what.

    jaxmeta train omniglot-one_shot --data PATH_TO/omniglot --seed 0 --out RUN
    python -m benchmarks.one_shot RUN
    python -m benchmarks.one_shot --table          # the table of the README

The episodes are those of the run's own `result.json`: no test character is looked at once
more for anything to be chosen.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import jaxmeta as jm
from benchmarks.common import write_between
from jaxmeta.runs import keys, loop
from jaxmeta.runs.experiment import tested
from jaxmeta.tasks import class_names

HERE = Path(__file__).parent
RESULT = HERE / "results" / "one_shot.json"
README = HERE / "README.md"
BEGIN, END = "<!-- one-shot: begin -->", "<!-- one-shot: end -->"
COMMON = 3
"""Mistakes that are named, of each alphabet."""


def by_group(names, confusion: np.ndarray) -> dict:
    """Right answers and the commonest mistakes within each alphabet.

    Args:
      names: `alphabet/character` of each class.
      confusion: `[c, c]` counts: row is the true class, column what was said.

    Returns:
      alphabet -> accuracy, queries, mistakes; the hardest first.
    """
    groups = np.array([name.split("/")[0] for name in names])
    found = {}
    for group in np.unique(groups):
        own = np.flatnonzero(groups == group)
        table = confusion[np.ix_(own, own)]
        if not table.sum():
            continue  # fewer characters than a task has
        rest = table - np.diag(np.diag(table))
        largest = np.argsort(-rest, axis=None, kind="stable")[:COMMON]
        pairs = [np.unravel_index(i, rest.shape) for i in largest]
        found[str(group)] = {
            "accuracy": round(float(np.trace(table) / table.sum()), 4),
            "queries": int(table.sum()),
            "mistakes": [
                f"{names[own[i]].split('/')[1]} for {names[own[j]].split('/')[1]}: "
                f"{rest[i, j] / table[i].sum():.0%}"
                for i, j in pairs
                if rest[i, j] > 0
            ],
        }
    return dict(sorted(found.items(), key=lambda item: item[1]["accuracy"]))


def measure(path: str) -> dict:
    run = jm.runs.load(path)
    result = json.loads((Path(path) / "result.json").read_text())
    task = tested(run.experiment.tasks)
    found = loop.score(run.job, run.meta, task, keys.test(), result["episodes"])
    if abs(float(found.mean) - result["accuracy"]) > 1e-6:
        raise SystemExit(f"{path}: got {found.mean}, wants {result['accuracy']}")
    names = class_names(task)
    return result | {"alphabets": by_group(names, np.asarray(found.confusion))}


def table(result: dict) -> str:
    lines = [
        "| alphabet | wrong | queries | which was taken for which, of its queries |",
        "|---|---|---|---|",
    ]
    for name, row in result["alphabets"].items():
        wrong = 100 * (1 - row["accuracy"])
        said = "; ".join(row["mistakes"]).replace("character", "")
        lines.append(
            f"| {name.replace('_', ' ')} | {wrong:.1f} % | {row['queries']:,} | {said} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="folder of a run of omniglot-one_shot")
    parser.add_argument("--table", action="store_true", help="only write the table")
    options = parser.parse_args()
    if options.run is None and not options.table:
        parser.error("run: got nothing, wants the folder of a run, or --table")
    if options.run:
        RESULT.write_text(json.dumps(measure(options.run), indent=2) + "\n")
    write_between(README, BEGIN, END, table(json.loads(RESULT.read_text())))
