"""A small version of `benchmarks/neural_processes.py`."""

import numpy as np
import pytest

import jaxmeta as jm

b = pytest.importorskip("benchmarks.neural_processes", reason="benchmarks/ is not here")


def test_the_ceiling_is_kept_and_shown(monkeypatch, tmp_path):
    monkeypatch.setattr(b, "RESULT", tmp_path / "found.json")
    setting = b.Setting({}, {"few": {"kernel": "rbf", "shots": 4}}, 2048)
    monkeypatch.setitem(b.SETTINGS, "paper", setting)
    b.measure_exact("paper", 60)
    found = b.kept()["paper"]
    told, exact = (np.array(found[k]["few"]["values"]) for k in ("told", "exact"))
    assert len(told) == len(exact) == 60
    assert told.mean() > exact.mean()  # who is told more says more
    best = found["exact"]["few"]["log_likelihood"]
    row = {"method": "gp-x", "seed": 0, "steps": 5, "published_rbf": 1.0}
    b.keep("paper", "learned", "x", row | {"tests": {"few": b.said(exact - 0.5)}})
    lines = b.table("paper").splitlines()
    assert f"| exact |  | {best:.2f} |" in lines[3]
    assert lines[4].startswith(f"| gp-x, seed 0 | 5 | {best - 0.5:.2f} ±")


def test_where_the_kernel_is_known_exact_is_told(monkeypatch, tmp_path):
    setting = b.SETTINGS["known"]
    found = b.exact(setting, "rbf, 20 points", 8)
    np.testing.assert_allclose(found["exact"], found["told"], rtol=1e-4, atol=1e-4)
    made = jm.runs.registry.known()["gp-tnp"](**setting.trained)
    prior = jm.tasks.prior_of(b.task_of(setting, "rbf, 20 points"))
    assert jm.tasks.prior_of(made.tasks.test) == prior
