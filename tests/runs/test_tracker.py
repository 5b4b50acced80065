"""Metrics as a table, as TensorBoard events, as an offline W&B run."""

import csv
import struct

import pytest

from jaxmeta.runs import ConfigError
from jaxmeta.runs.folder import Metrics, RunFolder
from jaxmeta.runs.tracker import check_tracker, open_tracker

ROWS = [
    {"step": 0, "val_accuracy": 0.2},
    {"step": 4, "loss": 0.5},
    {"step": 8, "loss": 0.25, "val_accuracy": 0.75},
]


def write(path, track="none"):
    where, metrics = RunFolder(path), Metrics(path / "metrics.jsonl")
    tracker = open_tracker(where, {"ways": 5}, metrics, 0, track)
    for row in ROWS:
        tracker.log(row)
    tracker.close()
    return where, metrics


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_with_a_column_for_each_metric(tmp_path):
    where, metrics = write(tmp_path)
    assert metrics.read() == ROWS
    rows = table(tmp_path / "metrics.csv")
    assert [row["val_accuracy"] for row in rows] == ["0.2", "", "0.75"]
    assert [row["loss"] for row in rows] == ["", "0.5", "0.25"]
    # a continued run starts from what its last checkpoint knew
    metrics.rewind(4)
    tracker = open_tracker(where, {}, metrics, 4, "none")
    assert len(table(tmp_path / "metrics.csv")) == 2
    tracker.log({"step": 8, "loss": 0.125})
    assert [row["loss"] for row in table(tmp_path / "metrics.csv")] == [
        "",
        "0.5",
        "0.125",
    ]


def test_a_finished_run_has_its_table(finished):
    rows = table(finished[0] / "metrics.csv")
    assert [int(r["step"]) for r in rows] == [
        r["step"] for r in Metrics(finished[0] / "metrics.jsonl").read()
    ]


def test_tensorboard_events(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    write(tmp_path, "tensorboard")
    (file,) = (tmp_path / "tensorboard").iterdir()
    raw, found = file.read_bytes(), []
    while raw:  # length, its checksum, the event, its checksum
        (size,) = struct.unpack("<Q", raw[:8])
        event = Event.FromString(raw[12 : 12 + size])
        found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
        raw = raw[16 + size :]
    assert found == [
        (0, "val_accuracy", pytest.approx(0.2)),
        (4, "loss", 0.5),
        (8, "loss", 0.25),
        (8, "val_accuracy", 0.75),
    ]


def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    write(tmp_path, "wandb")
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))


def test_a_tracker_that_is_not_installed_is_said_at_once(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"track: .* pip install jaxmeta\[wandb\]"):
        check_tracker("wandb")
    check_tracker("none")
