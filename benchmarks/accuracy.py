"""The table of methods in README.md here, from the `result.json` of finished runs.

    jaxmeta train omniglot-maml-5w1s --data OMNIGLOT --out runs/maml
    python -m benchmarks.accuracy runs/maml        # keeps the result, writes the table

Every row is a recipe that anyone can run; the kept files are the runs' own. Results that
are transductive (queries share batch statistics) have a column of their own.
"""

import argparse
import json
from pathlib import Path

import jaxmeta
from benchmarks.common import write_between
from jaxmeta.testing import comparable

HERE = Path(__file__).parent
KEPT = HERE / "results" / "accuracy"
README = HERE / "README.md"
BEGIN, END = "<!-- methods: begin -->", "<!-- methods: end -->"

PAPERS = {
    "maml": "[Finn 2017](https://arxiv.org/abs/1703.03400)",
    "anil": "[Raghu 2020](https://arxiv.org/abs/1909.09157)",
    "boil": "[Oh 2021](https://arxiv.org/abs/2008.08882)",
    "reptile": "[Nichol 2018](https://arxiv.org/abs/1803.02999)",
    "meta_sgd": "[Li 2017](https://arxiv.org/abs/1707.09835)",
    "maml_plus_plus": "[Antoniou 2019](https://arxiv.org/abs/1810.09502)",
    "meta_curvature": "[Park 2019](https://arxiv.org/abs/1902.03356)",
    "cavia": "[Zintgraf 2019](https://arxiv.org/abs/1810.03642)",
    "imaml": "[Rajeswaran 2019](https://arxiv.org/abs/1909.04630)",
    "proto_maml": "[Triantafillou 2020](https://arxiv.org/abs/1903.03096)",
    "protonet": "[Snell 2017](https://arxiv.org/abs/1703.05175)",
    "matching_network": "[Vinyals 2016](https://arxiv.org/abs/1606.04080)",
    "relation_network": "[Sung 2018](https://arxiv.org/abs/1711.06025)",
    "r2d2": "[Bertinetto 2019](https://arxiv.org/abs/1805.08136)",
    "metaoptnet": "[Lee 2019](https://arxiv.org/abs/1904.03758)",
    "baseline_plus_plus": "[Chen 2019](https://arxiv.org/abs/1904.04232), a control",
    "simple_shot": "[Wang 2019](https://arxiv.org/abs/1911.04623), a control",
    "cnp": "[Garnelo 2018](https://arxiv.org/abs/1807.01613), "
    "[Kim 2019](https://arxiv.org/abs/1901.05761)",
    "np": "[Garnelo 2018b](https://arxiv.org/abs/1807.01622)",
    "conv_cnp": "[Gordon 2020](https://arxiv.org/abs/1910.13556)",
    "tnp": "[Nguyen 2022](https://arxiv.org/abs/2207.04179)",
    "mann": "[Santoro 2016](https://arxiv.org/abs/1605.06065)",
    "snail": "[Mishra 2018](https://arxiv.org/abs/1707.03141)",
    "lstm_meta_learner": "[Ravi 2017](https://openreview.net/forum?id=rJY0-Kcll)",
    "platipus": "[Finn 2018](https://arxiv.org/abs/1806.02817)",
    "bmaml": "[Yoon 2018](https://arxiv.org/abs/1806.03836)",
    "meta_gan": "[Zhang 2018](https://papers.nips.cc/paper/7504)",
    "logistic_regression": "a control, and a head on pretrained features",
    "tip_adapter": "[Zhang 2022](https://arxiv.org/abs/2111.03930), a head on pretrained features",
    "prior_fitted_network": "[Müller 2022](https://arxiv.org/abs/2112.10510), "
    "[Hollmann 2025](https://doi.org/10.1038/s41586-024-08328-6): tables",
    "oml": "[Javed 2019](https://arxiv.org/abs/1905.12588)",
    "anml": "[Beaulieu 2020](https://arxiv.org/abs/2002.09571)",
    "online_maml": "[Sun 2024](https://arxiv.org/abs/2407.04620), test-time training",
}

ELSEWHERE = {
    "platipus": "A sine or a line",
    "bmaml": "A sine or a line",
    "logistic_regression": "Photographs of groceries",
    "tip_adapter": "Photographs of groceries",
    "prior_fitted_network": "Tables that a network reads",
    "oml": "Classes one after another",
    "anml": "Classes one after another",
}
"""Learner -> the section of the page with what was measured of it, on other tasks."""
CURVES_ALONE = {"cnp", "np", "conv_cnp", "tnp"}
NO_REGRESSION = {
    "logistic_regression",
    "tip_adapter",
    "prior_fitted_network",
    "proto_maml",
    "protonet",
    "matching_network",
    "relation_network",
    "r2d2",
    "metaoptnet",
    "baseline_plus_plus",
    "simple_shot",
    "mann",
    "snail",
    "meta_gan",
}


def keep(run: Path) -> None:
    """Copies a run's result among the kept ones, under the recipe's name."""
    result = json.loads((run / "result.json").read_text())
    KEPT.mkdir(parents=True, exist_ok=True)
    target = KEPT / f"{result['recipe']}.json"
    target.write_text(json.dumps(result, indent=2) + "\n")


def cell(result: dict) -> str:
    """`98.44 ± 0.19 %`, or an mse, with what it took, and the version if not today's."""
    if "accuracy" in result:
        value = f"{100 * result['accuracy']:.2f} ± {100 * result['ci95']:.2f} %"
    else:
        value = f"{result['mse']:.3f} ± {result['ci95']:.3f}"
    taken = f"{value}, {result['steps']:,} x {result['batch']}"
    if "coverage" in result:
        taken += (
            f"; log-likelihood {result['log_likelihood']:.2f}, "
            f"90 % band {100 * result['coverage']:.1f} %"
        )
    if "instances" in result:
        seen = result["instances"]
        taken += f"; {100 * seen[1]:.1f} at the 2nd of a class, {100 * seen[4]:.1f} at the 5th"
    if result["version"] != jaxmeta.__version__:
        taken += f" ({result['version'].rpartition('.')[0]})"
    # a recipe that is not named after its learner alone is a variant of it
    variant = result["recipe"].split("-")[1]
    return taken if variant == result["learner"] else f"{variant}: {taken}"


def elsewhere(learner: str) -> str:
    """The section where other tasks of a learner were measured, or "not measured"."""
    title = ELSEWHERE.get(learner)
    return f'other tasks: "{title}"' if title else "not measured"


def table() -> str:
    """One row a learner; what was not run says so."""
    results = [json.loads(p.read_text()) for p in sorted(KEPT.glob("*.json"))]
    columns = {
        "Omniglot 5-way 1-shot": ("Omniglot", False),
        "the same, transductive": ("Omniglot", True),
        "sinusoid 10-shot mse": ("sinusoid", None),
    }
    cells = {}
    for title, (data, transductive) in columns.items():
        rows = [
            r for r in results
            if r["dataset"] == data and transductive in (None, r["transductive"])
        ]  # fmt: skip
        comparable(rows)
        for row in sorted(rows, key=lambda r: len(r["recipe"])):
            cells.setdefault((row["learner"], title), []).append(cell(row))
    lines = [f"| `jm.` | paper | {' | '.join(columns)} |", "|---" * 5 + "|"]
    done = {(r["learner"], r["dataset"]) for r in results}
    for learner, paper in PAPERS.items():
        row = []
        for title, (data, _) in columns.items():
            cannot = learner in (CURVES_ALONE if data == "Omniglot" else NO_REGRESSION)
            nothing = "-" if cannot or (learner, data) in done else elsewhere(learner)
            row.append("<br>".join(cells.get((learner, title), [])) or nothing)
        lines.append(f"| `{learner}` | {paper} | {' | '.join(row)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=Path, help="folders of finished runs")
    for run in parser.parse_args().runs:
        keep(run)
    write_between(README, BEGIN, END, table())


if __name__ == "__main__":
    main()
