"""A run over several devices: the same numbers, and errors before anything compiles."""

import json
import subprocess
import sys

import pytest

TINY = "sinusoid-maml --hidden 4 --steps 4 --batch 4 --chunk 2 --episodes 4".split()


def train(*options, folder):
    command = [sys.executable, "-m", "jaxmeta", "train", *TINY, "--out", str(folder)]
    return subprocess.run(
        [*command, "--validate-every", "0", *options],
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_devices_train_as_one(tmp_path):
    rows = []
    for devices in ("1", "2"):
        folder = tmp_path / devices
        done = train("--devices", devices, folder=folder)
        assert done.returncode == 0, done.stderr
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        rows.append([json.loads(line)["loss"] for line in lines])
        assert json.loads((folder / "config.json").read_text())
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)
    assert len(rows[0]) == 2


def test_devices_that_do_not_divide_the_batch(tmp_path):
    done = train("--devices", "3", folder=tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("devices: got 3, wants a divisor of batch = 4")
    assert not (tmp_path / "run").exists()
