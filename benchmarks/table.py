"""The published tables, reached: a queue of trainings under a budget, and what they got to.

    python -m benchmarks.table --data OMNIGLOT --runs runs/table --minutes 120
    python -m benchmarks.table --data OMNIGLOT --runs runs/table --minutes 120 --workers 2 maml-5w1s
    python -m benchmarks.table --full ...      # the papers' own schedules, for a GPU
    python -m benchmarks.table                 # writes the table of what is kept, and the plot

Trainings go on where they were stopped. With `--workers 2` two of them run side by side,
one core each; a row that starts with the network of another waits for it. Each row keeps
one file in results/table: the run's own `result.json`, its test in the other columns, and
its curve over validation tasks; a row on its way says how far it is. What chooses
parameters is the accuracy on validation classes.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.common import write_between
from benchmarks.table_rows import COLUMNS, FULL, ROWS, SMALL, Row
from jaxmeta.train import interval

HERE = Path(__file__).parent
KEPT = HERE / "results" / "table"
PAGE = HERE / "README.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"


def command(row: Row, data: str | None, folder: Path) -> list[str]:
    """What trains a row, or goes on with it."""
    options = [x for k, v in row.options.items() for x in (_flag(k), str(v))]
    start = [sys.executable, "-m", "jaxmeta", "train", row.recipe]
    where = [] if data is None else ["--data", data]
    warm = ["--warm-start", str(folder / row.after)] if row.after else []
    return [*start, *where, "--out", str(folder / row.name), *warm, *options]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def work(rows, data, folder, kept, minutes, workers) -> bool:
    """Trains the rows in order, as far as the budget goes, and keeps each as it stops.

    Returns:
      Whether no training failed.
    """
    whole = True
    deadline = time.monotonic() + 60 * minutes
    queue = [row for row in rows if not finished(row, folder)]
    cores = sorted(os.sched_getaffinity(0))
    free = [cores[i % len(cores)] for i in range(workers)] if workers > 1 else [None]
    running: list[tuple[Row, subprocess.Popen, int | None]] = []
    folder.mkdir(parents=True, exist_ok=True)
    try:
        while running or (queue and time.monotonic() < deadline):
            while queue and free and time.monotonic() < deadline:
                ready = [
                    r for r in queue if r.after is None or trained(r.after, folder)
                ]
                if not ready:
                    break
                queue.remove(row := ready[0])
                core = free.pop()
                log = (folder / f"{row.name}.log").open("a")
                process = subprocess.Popen(
                    command(row, data, folder), stdout=log, stderr=subprocess.STDOUT
                )
                if core is not None:
                    os.sched_setaffinity(process.pid, {core})
                print(f"{row.name}: training", flush=True)
                running.append((row, process, core))
            if not running:
                break  # what is left starts with what is not there
            time.sleep(1)
            late = time.monotonic() > deadline
            for entry in list(running):
                row, process, core = entry
                if late and process.poll() is None:
                    process.send_signal(signal.SIGTERM)  # it saves, and can go on
                    process.wait()
                if process.poll() is not None:
                    running.remove(entry)
                    free.append(core)
                    if not late:
                        columns(row, folder)
                    whole &= process.returncode in (0, 128 + signal.SIGTERM)
                    print(f"{row.name}: {state(keep(row, folder, kept))}", flush=True)
    finally:
        for _, process, _ in running:
            process.send_signal(signal.SIGTERM)
    for row in queue:
        if row.after and not trained(row.after, folder):
            print(f"{row.name}: starts with {row.after}, which is not trained yet")
    return whole


def finished(row: Row, folder: Path) -> bool:
    return trained(row.name, folder)


def trained(name: str, folder: Path) -> bool:
    return (folder / name / "result.json").exists()


def columns(row: Row, folder: Path) -> None:
    """Tests one training in the other columns that its paper tests it in."""
    for column in row.columns:
        if column == row.column or not finished(row, folder):
            continue
        ways, shots = COLUMNS[column]
        argv = [sys.executable, "-m", "jaxmeta", "evaluate", str(folder / row.name)]
        sizes = ["--episodes", "1000", "--ways", str(ways), "--shots", str(shots)]
        subprocess.run([*argv, *sizes], check=False, stdout=subprocess.DEVNULL)


def keep(row: Row, folder: Path, kept: Path) -> dict | None:
    """Writes `kept`/<name>.json from the run folder, whatever it has got to."""
    run = folder / row.name
    if not (run / "metrics.jsonl").exists():
        return None
    lines = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    config = json.loads((run / "config.json").read_text())
    found = {
        "row": row.name,
        "recipe": row.recipe,
        "options": dict(row.options),
        "step": max((x["step"] for x in lines), default=0),
        "curve": [
            [x["step"], x["val_accuracy"], x["val_ci95"]]
            for x in lines
            if "val_accuracy" in x
        ],
        "columns": {},
        "result": None,
    }
    found["batch"] = config["settings"]["batch"] or config["options"]["batch"]
    if row.after:
        found["after"] = before(row, folder, kept)
    if finished(row, folder):
        found["result"] = json.loads((run / "result.json").read_text())
        found["columns"][row.column] = _short(found["result"])
        for column in row.columns:
            ways, shots = COLUMNS[column]
            for file in run.glob(f"evaluation-*ways-{ways}-shots-{shots}.json"):
                found["columns"][column] = _short(json.loads(file.read_text()))
    kept.mkdir(parents=True, exist_ok=True)
    (kept / f"{row.name}.json").write_text(json.dumps(found, indent=1) + "\n")
    return found


def before(row: Row, folder: Path, kept: Path) -> list[dict]:
    """The trainings that a row's network has had, the first one first."""
    if row.after is None:
        return []
    file = folder / row.after / "result.json"
    if not file.exists():  # the run is gone, what was kept of it is not
        file = kept / f"{row.after}.json"
    found = json.loads(file.read_text())
    found = found.get("result", found)
    last = {name: found[name] for name in ("steps", "batch", "train_seconds")}
    first = next(other for other in ROWS if other.name == row.after)
    return [*before(first, folder, kept), last]


def _short(result: dict) -> dict:
    names = ("accuracy", "ci95", "episodes", "seed", "transductive", "queries")
    return {name: result[name] for name in names}


def state(kept: dict | None) -> str:
    if kept is None:
        return "nothing to keep yet"
    if kept["result"] is None:
        best = max((v for _, v, _ in kept["curve"]), default=None)
        said = "" if best is None else f", best validation {100 * best:.1f} %"
        return f"on its way, step {kept['step']}{said}"
    found = kept["columns"].values()
    return ", ".join(
        f"{100 * c['accuracy']:.2f} ± {100 * c['ci95']:.2f}" for c in found
    )


def table(folder: Path) -> str:
    """One line a training and column, and the mean of seeds; what is not there says so."""
    head = ["row", "column", "published", "transductive", "measured", "seed"]
    head += ["steps x tasks", "hours"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    seeds: dict[tuple[str, str], list] = {}
    for row in (*ROWS, *FULL):
        file = folder / f"{row.name}.json"
        kept = json.loads(file.read_text()) if file.exists() else None
        for column in row.columns:
            first = [row.name, column, row.published.get(column, "-")]
            lines.append("| " + " | ".join(first + _cells(kept, column)) + " |")
            name, _, seed = row.name.rpartition("-s")
            if seed.isdigit() and kept and column in kept["columns"]:
                seeds.setdefault((name, column), []).append((row, kept))
    for (name, column), found in seeds.items():
        if len(found) > 1:
            first = [f"{name}, {len(found)} seeds", column]
            first += [found[0][0].published.get(column, "-")]
            cells = _over_seeds([kept for _, kept in found], column)
            lines.append("| " + " | ".join(first + cells) + " |")
    return "\n".join(lines)


def _over_seeds(kept: list[dict], column: str) -> list[str]:
    """The mean over seeds, each by all of its episodes, and its 95 % t-interval."""
    right = [k["columns"][column]["accuracy"] for k in kept]
    mean, half = interval(np.array(right))
    cells = [_cells(k, column) for k in kept]
    hours = sum(k["result"]["train_seconds"] for k in kept) / 3600
    said = f"{100 * mean:.2f} ± {100 * half:.2f} %"
    return [
        cells[0][0],
        said,
        ", ".join(c[2] for c in cells),
        cells[0][3],
        f"{hours:.2f}",
    ]


def _cells(kept: dict | None, column: str) -> list[str]:
    if kept is None:
        return ["", "not measured", "", "", ""]
    found, result = kept["columns"].get(column), kept["result"]
    if result is None:
        return ["", state(kept), "", f"{kept['step']:,} x {kept['batch']}", ""]
    if found is None:
        return ["", "not measured", "", "", ""]
    parts = [*kept.get("after", []), result]
    return [
        "yes" if found["transductive"] else "no",
        f"{100 * found['accuracy']:.2f} ± {100 * found['ci95']:.2f} %",
        str(found["seed"]),
        ", then ".join(f"{x['steps']:,} x {x['batch']}" for x in parts),
        " + ".join(f"{x['train_seconds'] / 3600:.2f}" for x in parts),
    ]


def plot(folder: Path) -> None:
    """How many tasks each row takes, by validation accuracy: tasks.png.

    Seeds of one row share a colour; the eleventh row begins the colours again, dotted.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib import ticker

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    looks: dict[str, dict] = {}
    for file in sorted(folder.glob("*.json")):
        kept = json.loads(file.read_text())
        # by the network that it starts with
        seen = sum(x["steps"] * x["batch"] for x in kept.get("after", []))
        points = [
            (seen + s * kept["batch"], 100 * (1 - v)) for s, v, _ in kept["curve"] if s
        ]
        if points:
            name = re.sub(r"-s\d+$", "", kept["row"])
            label = "_seed" if name in looks else name  # one word a row
            n = len(looks)
            look = looks.setdefault(
                name, dict(color=f"C{n % 10}", ls="-:"[n // 10 % 2])
            )
            axes.plot(*zip(*points, strict=True), marker=".", label=label, **look)
    axes.axhline(5, color="grey", lw=0.8, ls="--", label="95 % right")
    axes.set(xscale="log", yscale="log", xlabel="training tasks (thousands)")
    axes.set(ylabel="error on validation classes (%)")
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(ticker.NullLocator())
    if axes.lines[1:]:
        figure.legend(loc="outside lower center", fontsize=8, ncols=4)
    figure.savefig(folder / "tasks.png", dpi=100)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(r.name for r in ROWS)}")
    parser.add_argument("--data", help="the folder with Omniglot's two zip files")
    parser.add_argument("--runs", type=Path, help="where the runs lie")
    parser.add_argument("--minutes", type=float, default=0.0, help="the budget")
    parser.add_argument("--workers", type=int, default=1, help="trainings side by side")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where results go")
    parser.add_argument("--full", action="store_true", help="the papers' own schedules")
    parser.add_argument("--small", action="store_true", help="two steps: does it run?")
    args = parser.parse_args()
    known = {row.name: row for row in (*ROWS, *FULL)}
    for name in args.rows:
        if name not in known:
            parser.error(f"rows: got {name!r}, wants one of {', '.join(known)}")
    usual = SMALL if args.small else FULL if args.full else ROWS
    rows = [known[name] for name in args.rows] or list(usual)
    whole = True
    if args.minutes:
        if args.runs is None or (args.data is None and not args.small):
            parser.error("--minutes wants --data and --runs")
        budget = args.minutes, args.workers
        whole = work(rows, args.data, args.runs, args.kept, *budget)
    elif args.runs is not None:
        for row in rows:
            keep(row, args.runs, args.kept)
    if args.kept.exists():
        plot(args.kept)
    if args.kept == KEPT:
        write_between(PAGE, BEGIN, END, table(KEPT))
    sys.exit(not whole)


if __name__ == "__main__":
    main()
