"""The table of long trainings: what is kept of a run, and what a row says."""

import dataclasses
import json
import subprocess
from pathlib import Path

import pytest

from benchmarks import table
from benchmarks.table_rows import COLUMNS, FULL, ROWS
from jaxmeta.runs.making import options_of
from jaxmeta.runs.registry import known
from jaxmeta.runs.settings import OUTER, Settings


def run_folder(folder, name, *, done, seed=0, accuracy=0.987):
    run = folder / name
    run.mkdir()
    rows = [{"step": 0, "val_accuracy": 0.2, "val_ci95": 0.02}, {"step": 40, "loss": 1.0},
            {"step": 50, "val_accuracy": 0.9, "val_ci95": 0.01}]  # fmt: skip
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {"settings": {"batch": None}, "options": {"batch": 32}}
    (run / "config.json").write_text(json.dumps(config))
    result = {"accuracy": accuracy, "ci95": 0.002, "episodes": 1000, "seed": seed,
              "transductive": True, "queries": 1, "steps": 60, "batch": 32,
              "train_seconds": 7200}  # fmt: skip
    if done:
        (run / "result.json").write_text(json.dumps(result))
        other = run / "evaluation-1000-ways-20-shots-1.json"
        other.write_text(json.dumps({**result, "accuracy": 0.95}))


def line(text, name, column):
    return next(x for x in text.splitlines() if x.startswith(f"| {name} | {column} |"))


def test_a_row_is_measured_on_its_way_or_not_measured(tmp_path):
    kept = tmp_path / "kept"
    run_folder(tmp_path, "protonet-s0", done=True)
    run_folder(tmp_path, "maml-5w1s-s0", done=False)
    for row in ROWS:
        table.keep(row, tmp_path, kept)
    text = table.table(kept)
    first = line(text, "protonet-s0", "5w1s")
    assert "98.70 ± 0.20 %" in first and "60 x 32 | 2.00" in first and "yes" in first
    assert "95.00 ± 0.20 %" in line(text, "protonet-s0", "20w1s")
    assert "not measured" in line(text, "protonet-s0", "20w5s")
    waiting = line(text, "maml-5w1s-s0", "5w1s")
    assert "on its way, step 50, best validation 90.0 %" in waiting
    assert "not measured" in line(text, "reptile-5w1s", "5w1s")
    assert "seeds" not in text  # one has no interval
    run_folder(tmp_path, "protonet-s1", done=True, seed=1, accuracy=0.983)
    table.keep(next(r for r in ROWS if r.name == "protonet-s1"), tmp_path, kept)
    # 98.5, and a half of 0.2 times the t-quantile of one degree of freedom, 12.706
    both = line(table.table(kept), "protonet, 2 seeds", "5w1s")
    assert "98.50 ± 2.54 % | 0, 1 | 60 x 32 | 4.00 |" in both
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.pyplot.close", drawn.append)
        table.plot(kept)
    assert (kept / "tasks.png").stat().st_size > 1000
    maml, first, second = drawn[0].axes[0].lines[:3]
    assert first.get_color() == second.get_color() != maml.get_color()
    words = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert words == ["maml-5w1s", "protonet", "95 % right"]


def test_a_row_that_goes_on_says_what_came_before(tmp_path):
    kept = tmp_path / "kept"
    later = next(row for row in ROWS if row.name == "maml-20w5s")  # the third of three
    for name in ("maml-5w1s-s1", "maml-20w1s", later.name):
        run_folder(tmp_path, name, done=True)
    command = table.command(later, "data", tmp_path)
    assert command[command.index("--warm-start") + 1] == str(tmp_path / later.after)
    found = table.keep(later, tmp_path, kept)
    assert found["after"] == 2 * [{"steps": 60, "batch": 32, "train_seconds": 7200}]
    text = line(table.table(kept), later.name, later.column)
    assert "60 x 32, then 60 x 32, then 60 x 32 | 2.00 + 2.00 + 2.00 |" in text
    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.pyplot.close", drawn.append)
        table.plot(kept)
    assert list(drawn[0].axes[0].lines[0].get_xdata()) == [2 * 60 * 32 + 50 * 32]


def test_a_row_that_goes_on_waits_for_what_comes_before(tmp_path, capsys):
    later = next(row for row in ROWS if row.after)
    assert table.work([later], None, tmp_path / "runs", tmp_path / "kept", 0.1, 1)
    said = f"{later.name}: starts with {later.after}, which is not trained yet"
    assert said in capsys.readouterr().out
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.parametrize("row", (*ROWS, *FULL), ids=lambda row: row.name)
def test_every_row_is_a_recipe_with_options_that_it_has(row, tmp_path):
    """Its sizes are those of its column, too."""
    assert row.column in row.columns and set(row.columns) <= set(COLUMNS)
    settings = {field.name for field in dataclasses.fields(Settings)} - {*OUTER}
    options = {k: v for k, v in row.options.items() if k not in settings}
    there = options_of(known()[row.recipe], options, None).options
    assert set(options) <= set(there)
    ways, shots = COLUMNS[row.column]
    chosen = {k: options.get(k, there[k].default) for k in ("ways", "shots")}
    assert chosen == {"ways": ways, "shots": shots}
    assert row.after is None or row.after in {r.name for r in ROWS}
    words = table.command(row, "data", tmp_path)
    assert words[4] == row.recipe and words[5:7] == ["--data", "data"]


def test_the_command_for_a_gpu_runs(tmp_path):
    """In its small version, here: it is to work on the day that there is one."""
    script = Path(table.__file__).with_name("on_gpu.sh")
    argv = ["bash", str(script), "--small", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "agreement.json").read_text())["rows"]["protonet"]
    assert found["float64"] < 1e-9 and found["float32"] < 1e-5 < found["bfloat16"] < 0.1
    kept = json.loads((tmp_path / "table" / "small.json").read_text())
    assert kept["step"] == 2 and 0 <= kept["columns"]["5w1s"]["accuracy"] <= 1
