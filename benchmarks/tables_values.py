"""Tables of real values: the regressor of the package, which nobody tunes, beside tuned ones.

python -m benchmarks.tables_values [--splits 10] [--sets diabetes ...] [--models ...]

Sets are scikit-learn's own: diabetes, and the three of Friedman 1991, drawn with noise, 500
rows. Each split has 70 % of the rows to learn from; rivals are tuned by three-fold
cross-validation inside them; "network" is without its linear model. R^2, and for those
that say how sure they are the share of values inside their 90 % intervals; seconds to fit
and tune and to predict. Goes on where it was stopped.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.common import machine
from benchmarks.tables_pfn import grid, tuned
from jaxmeta.estimators import TabularRegressor

RESULTS = Path(__file__).parent / "results" / "tables_values.json"
ROWS = 500
SETS = {
    "diabetes": lambda: datasets.load_diabetes(return_X_y=True),
    "friedman1": lambda: datasets.make_friedman1(ROWS, noise=1.0, random_state=0),
    "friedman2": lambda: datasets.make_friedman2(ROWS, noise=125.0, random_state=0),
    "friedman3": lambda: datasets.make_friedman3(ROWS, noise=0.1, random_state=0),
}
"""Friedman 1991 with the noise of the paper."""


def rivals(seed: int) -> dict:
    """Name -> an estimator that tunes itself."""

    kernel = ConstantKernel() * RBF(2.0) + WhiteKernel()
    process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
    return {
        "jaxmeta": TabularRegressor(random_state=seed),
        "network": TabularRegressor(random_state=seed, linear=0),
        "ridge": tuned(Ridge(), "r2", alpha=[0.1, 1, 10, 100]),
        "knn": tuned(KNeighborsRegressor(), "r2", n_neighbors=[3, 7, 15, 31]),
        "forest": tuned(
            RandomForestRegressor(200, random_state=seed),
            "r2",
            min_samples_leaf=[1, 3, 10],
        ),
        "boosting": tuned(
            HistGradientBoostingRegressor(random_state=seed),
            "r2",
            learning_rate=[0.03, 0.1],
            max_leaf_nodes=[4, 15],
        ),
        "gp": make_pipeline(StandardScaler(), process),
    }


def one(name: str, split: int, model: str) -> dict:
    x, y = SETS[name]()
    a, b, c, d = train_test_split(x, y, train_size=0.7, random_state=split)
    made = rivals(split)[model]
    start = time.perf_counter()
    made.fit(a, c)
    fitted = time.perf_counter()
    mean = made.predict(b)
    found = {
        "r2": float(r2_score(d, mean)),
        "fit_seconds": fitted - start,
        "predict_seconds": time.perf_counter() - fitted,
    }
    if model in ("jaxmeta", "network"):
        low, high = made.predict_quantiles(b, (0.05, 0.95)).T
        found["covered"] = float(((low <= d) & (d <= high)).mean())
    if model == "gp":
        mean, std = made.predict(b, return_std=True)
        found["covered"] = float((abs(d - mean) <= 1.645 * std).mean())
    return found


def cell(model: str, found: list[dict]) -> str:
    """R^2, mean of the splits with its 95 % interval; what 90 % intervals hold."""
    each = np.array([r["r2"] for r in found])
    half = 1.96 * each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else 0
    shown = f"{each.mean():.3f} ± {half:.3f}"
    if model not in ("jaxmeta", "network", "gp"):
        return shown
    return f"{shown} ({np.mean([r['covered'] for r in found]):.0%})"


def table(rows: dict) -> str:
    return grid(rows, SETS, rivals(0), cell)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    parser.add_argument("--models", nargs="*", default=list(rivals(0)))
    parser.add_argument("--fresh", action="store_true", help="measure jaxmeta anew")
    args = parser.parse_args()
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": {}}
    rows = kept["rows"]
    if args.fresh:
        rows = {k: v for k, v in rows.items() if not k.endswith("/jaxmeta")}
    for split in range(args.splits):
        for name in args.sets:
            for model in args.models:
                key = f"{name}/{split}/{model}"
                if key in rows:
                    continue
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of solvers that did not converge
                    rows[key] = one(name, split, model)
                text = json.dumps({"rows": rows, "machine": machine()}, indent=1)
                RESULTS.write_text(text + "\n")
                print(key, rows[key], flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
