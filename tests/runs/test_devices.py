"""A run over several devices: the same numbers, and errors before anything compiles."""

import json
import subprocess
import sys

import pytest

from jaxmeta.cli import main

TINY = "sinusoid-maml --hidden 4 --steps 4 --batch 4 --chunk 2 --episodes 4".split()


def words(*options, folder):
    return ["train", *TINY, "--out", str(folder), "--validate-every", "0", *options]


def train(*options, folder):
    """In a process of its own: the number of devices is said before JAX looks."""
    return subprocess.run(
        [sys.executable, "-m", "jaxmeta", *words(*options, folder=folder)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_devices_train_as_one(tmp_path):
    assert main(words("--devices", "1", folder=tmp_path / "1")) == 0
    done = train("--devices", "2", folder=tmp_path / "2")
    assert done.returncode == 0, done.stderr
    rows = []
    for devices in ("1", "2"):
        folder = tmp_path / devices
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
