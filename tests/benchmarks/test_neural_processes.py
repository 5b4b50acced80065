"""A small version of `benchmarks/neural_processes.py`."""

import numpy as np
import pytest

b = pytest.importorskip("benchmarks.neural_processes", reason="benchmarks/ is not here")


def test_the_ceiling_is_kept_and_shown(monkeypatch, tmp_path):
    monkeypatch.setattr(b, "RESULT", tmp_path / "found.json")
    monkeypatch.setattr(b, "TESTS", {"few": {"kernel": "rbf", "shots": 4}})
    b.measure_exact(60)
    found = b.kept()
    told, exact = (np.array(found[k]["few"]["values"]) for k in ("told", "exact"))
    assert len(told) == len(exact) == 60
    assert told.mean() > exact.mean()  # who is told more says more
    best = found["exact"]["few"]["log_likelihood"]
    row = {"method": "gp-x", "seed": 0, "steps": 5, "published_rbf": 1.0}
    b.keep("learned", "x", row | {"tests": {"few": b.said(exact - 0.5)}})
    lines = b.table().splitlines()
    assert f"| exact |  | {best:.2f} |" in lines[3]
    assert lines[4].startswith(f"| gp-x, seed 0 | 5 | {best - 0.5:.2f} ±")
