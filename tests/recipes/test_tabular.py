"""The recipe of networks for tables: a run becomes weights, and weights become a run."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxmeta import estimators, runs
from jaxmeta.core import Batch, Episode
from jaxmeta.recipes.packed import trained
from jaxmeta.runs import ConfigError
from jaxmeta.runs.registry import known

NET = {"classes": 2, "width": 8, "depth": 1, "heads": 2, "expansion": 1, "bars": 8}
TINY = {"support": 8, "fewest": 4, "queries": 3, "columns": 2, **NET}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A run as `pack` reads it, and the files: a training costs half a minute, see below."""
    folder = tmp_path_factory.mktemp("tabular")
    options = TINY | {"target": "values", "batch": 1, "start": None}
    made = known()["tabular-pfn"](**options)
    rows = Batch(
        np.zeros((8, 2), "float32"), np.zeros((8, 1), "float32"), np.ones(8, "float32")
    )
    meta = jax.jit(made.learner.init)(jax.random.key(0), Episode(rows, rows))
    job = SimpleNamespace(made=SimpleNamespace(options=options))
    run = SimpleNamespace(name="tabular-pfn", job=job, meta=meta, step=1)
    estimators.pack(run, folder / "net")
    return folder, run


def same(one, other):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_run_becomes_weights(packed):
    folder, run = packed
    net = trained(str(folder / "net"))
    same(net.meta.params, run.meta.params)
    assert net.about["trained"]["tables"] == 1
    assert len(net.about["built"]["borders"]) == NET["bars"] + 1


def test_weights_become_a_run(packed):
    """It starts at them, on other tables, and keeps its bars: the head is made for them."""
    folder, run = packed
    start = str(folder / "net")
    wider = TINY | {"target": "values", "columns": 3, "support": 16}
    made = known()["tabular-pfn"](**wider, start=start)
    same(made.learner.init(jax.random.key(1), None).params, run.meta.params)
    run.job.made.options.update(wider, start=start)
    estimators.pack(run, folder / "again")
    first, again = (
        json.loads((folder / f"{name}.json").read_text()) for name in ("net", "again")
    )
    assert again["built"] == first["built"]
    assert again["before"] == [first["trained"]] and again["limits"] != first["limits"]


@pytest.mark.slow
def test_all_the_way(tmp_path):
    """Trained, packed, trained further, packed, and asked."""
    run = {"out": tmp_path / "run", "episodes": 2, "validate_every": 0, "say": str}
    options = TINY | {"steps": 1, "batch": 1}
    for start in (None, str(tmp_path / "net0")):
        out = runs.train(
            known()["tabular-pfn"], options=options | {"start": start}, **run
        )
        run["out"] = tmp_path / "further"
        number = 0 if start is None else 1
        estimators.pack(runs.load(out), tmp_path / f"net{number}")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2)), rng.integers(0, 2, 20)
    model = estimators.TabularClassifier(weights=str(tmp_path / "net1")).fit(x, y)
    assert model.predict_proba(x).shape == (20, 2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target": "classes"}, "start: got .*net, wants weights for classes"),
        ({"width": 16}, "width: got 16, wants 8, as at the start"),
        ({"bars": 16}, "bars: got 16, wants 8, as at the start"),
        ({"start": "nowhere"}, "start: got nowhere, wants .*estimators.pack"),
    ],
)
def test_a_start_that_does_not_fit_is_one_line(packed, options, says):
    start = {"start": str(packed[0] / "net")}
    with pytest.raises(ConfigError, match=says):
        known()["tabular-pfn"](**TINY | {"target": "values"} | start | options)
