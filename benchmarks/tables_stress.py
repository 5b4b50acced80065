"""Tables out of the prior: what the network of the package makes of them.

python -m benchmarks.tables_stress [--splits 3] [--sets breast_cancer ...]

For each set, by splits with 70 % of at most 1,200 rows to learn from:

- plain: as it is;
- all rows: each member is shown all of them, up to three times what the network was made
  for, where it usually sees a part;
- shuffled: labels in random order. What cannot be known is to be answered by chance, with
  doubt: log-loss beside that of the frequencies of the classes;
- useless: as many columns again, constant or copies, half and half.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

from benchmarks.common import machine
from benchmarks.tables_pfn import MOST_TESTED, grid, scores
from jaxmeta.estimators import TabularClassifier

RESULTS = Path(__file__).parent / "results" / "tables_stress.json"
MOST = 1200
SETS = {
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "moons": lambda: datasets.make_moons(MOST, noise=0.3, random_state=0),
    "gaussians": lambda: datasets.make_classification(
        MOST, 8, n_informative=5, n_classes=4, class_sep=1.2, random_state=0
    ),
}
CASES = ("plain", "all rows", "shuffled", "useless")


def one(name: str, split: int, case: str) -> dict:
    x, y = map(np.asarray, SETS[name]())
    draw = np.random.default_rng(split)
    if case == "useless":
        half = x.shape[1] // 2
        same = np.broadcast_to(draw.normal(size=half), (len(x), half))
        x = np.concatenate([x, same, x[:, half:]], 1)
    x, y = x[:MOST], y[:MOST]
    size = int(0.7 * len(y))
    test = min(MOST_TESTED, len(y) - size)
    a, b, c, d = train_test_split(
        x, y, train_size=size, test_size=test, stratify=y, random_state=split
    )
    if case == "shuffled":
        c, d = draw.permutation(c), draw.permutation(d)
    most = len(a) if case == "all rows" else None
    p = TabularClassifier(max_rows=most, random_state=split).fit(a, c).predict_proba(b)
    share = np.bincount(c) / len(c)
    return {
        **scores(p, d),
        "sure": float(p.max(1).mean()),
        "log_loss_of_frequencies": float(-np.log(share[d]).mean()),
        "rows": len(a),
    }


def cell(case: str, found: list[dict]) -> str:
    """AUC, log-loss and mean confidence; of shuffled labels the frequencies' log-loss, too."""
    names = "auc", "log_loss", "sure", "log_loss_of_frequencies"
    auc, loss, sure, chance = (np.mean([r[n] for r in found]) for n in names)
    shown = f"{auc:.3f} / {loss:.3f} / {sure:.0%}"
    return f"{shown} ({chance:.3f})" if case == "shuffled" else shown


def table(rows: dict) -> str:
    return grid(rows, SETS, CASES, cell)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    args = parser.parse_args()
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    for split in range(args.splits):
        for name in args.sets:
            for case in CASES:
                key = f"{name}/{split}/{case}"
                if key not in rows:
                    rows[key] = one(name, split, case)
                    text = json.dumps({"rows": rows, "machine": machine()}, indent=1)
                    RESULTS.write_text(text + "\n")
                    print(key, rows[key], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
