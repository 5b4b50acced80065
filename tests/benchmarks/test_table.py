"""The table of long trainings: what is kept of a run, and what a row says."""

import json

import pytest

from benchmarks import table
from benchmarks.table_rows import COLUMNS, ROWS
from jaxmeta.runs.making import options_of
from jaxmeta.runs.registry import known


@pytest.fixture
def kept(monkeypatch, tmp_path):
    monkeypatch.setattr(table, "KEPT", tmp_path / "kept")
    return tmp_path


def run_folder(folder, name, *, done):
    run = folder / name
    run.mkdir()
    rows = [{"step": 0, "val_accuracy": 0.2, "val_ci95": 0.02}, {"step": 40, "loss": 1.0},
            {"step": 50, "val_accuracy": 0.9, "val_ci95": 0.01}]  # fmt: skip
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    config = {"settings": {"batch": None}, "options": {"batch": 32}}
    (run / "config.json").write_text(json.dumps(config))
    result = {"accuracy": 0.987, "ci95": 0.002, "episodes": 1000, "seed": 0,
              "transductive": True, "queries": 1, "steps": 60, "batch": 32,
              "train_seconds": 7200}  # fmt: skip
    if done:
        (run / "result.json").write_text(json.dumps(result))
        other = run / "evaluation-1000-ways-20-shots-1.json"
        other.write_text(json.dumps({**result, "accuracy": 0.95}))


def line(text, name, column):
    return next(x for x in text.splitlines() if x.startswith(f"| {name} | {column} |"))


def test_a_row_is_measured_on_its_way_or_not_measured(kept):
    run_folder(kept, "protonet-s0", done=True)
    run_folder(kept, "maml-5w1s-s0", done=False)
    for row in ROWS:
        table.keep(row, kept)
    text = table.table()
    first = line(text, "protonet-s0", "5w1s")
    assert "98.70 ± 0.20 %" in first and "60 x 32 | 2.00" in first and "yes" in first
    assert "95.00 ± 0.20 %" in line(text, "protonet-s0", "20w1s")
    assert "not measured" in line(text, "protonet-s0", "20w5s")
    waiting = line(text, "maml-5w1s-s0", "5w1s")
    assert "on its way, step 50, best validation 90.0 %" in waiting
    assert "not measured" in line(text, "reptile-5w1s", "5w1s")
    table.plot()
    assert (table.KEPT / "tasks.png").stat().st_size > 1000


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_a_recipe_with_options_that_it_has(row, tmp_path):
    """Its sizes are those of its column, too."""
    assert row.column in row.columns and set(row.columns) <= set(COLUMNS)
    options = {k: v for k, v in row.options.items() if k != "seed"}
    there = options_of(known()[row.recipe], options, None).options
    assert set(options) <= set(there)
    ways, shots = COLUMNS[row.column]
    chosen = {k: options.get(k, there[k].default) for k in ("ways", "shots")}
    assert chosen == {"ways": ways, "shots": shots}
    words = table.command(row, "data", tmp_path)
    assert words[4] == row.recipe and words[-1] == str(list(row.options.values())[-1])
