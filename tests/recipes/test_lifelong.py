"""New classes for life, from the command line's recipe: tiny nets and streams."""

import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.functional import backward_transfer, forgetting, seen_accuracy
from jaxmeta.recipes import lifelong_judge
from jaxmeta.recipes.lifelong import KEEPERS
from jaxmeta.runs import ConfigError, Settings, keys
from jaxmeta.runs.job import build
from jaxmeta.runs.making import make
from jaxmeta.runs.registry import known

SMALL = {
    "network": "mlp", "hidden": (12,), "size": 8, "stages": 3, "ways": 6, "shots": 4,
    "queries": 2, "steps": 30, "batch": 16, "rate": 0.01,
}  # fmt: skip


def built(**options):
    return build(make(known()["lifelong"], SMALL | options), Settings()).experiment


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("lifelong") / "run"
    jm.runs.train(
        known()["lifelong"], out=out, options=SMALL, say=lambda _: None, chunk=2,
        episodes=3, validate_episodes=3,
    )  # fmt: skip
    return jm.runs.load(out)


def test_a_run_says_what_is_left(run):
    result = run.result
    assert result["classes_seen"] == [2, 4, 6]
    assert result["accuracy_seen"][-1] == pytest.approx(result["accuracy"])
    # among two classes the first stage is easier than the last among six
    assert result["accuracy_seen"][0] > result["accuracy"] > 1.5 / 6
    assert -1 <= result["backward_transfer"] <= 0 <= result["forgetting"] <= 1
    assert result["transductive"] is False
    page = (run.path / "report.html").read_text()
    assert "What is left of the first classes" in page and "is left out" not in page


def test_the_measures_are_those_of_the_tables(run):
    experiment = run.job.experiment
    key = keys.test()
    judge = experiment.judge
    found = judge(run.meta, experiment.tasks.test, key, 3)
    streams = judge.__self__
    assert isinstance(streams, lifelong_judge.Streams)
    tables = streams._seen[1]
    np.testing.assert_allclose(found.mean, run.result["accuracy"], rtol=1e-6)
    seen = np.mean([seen_accuracy(t) for t in tables], 0)
    np.testing.assert_allclose(seen, run.result["accuracy_seen"], rtol=1e-5)
    for measure in (forgetting, backward_transfer):
        mean = np.mean([measure(t) for t in tables])
        assert mean == pytest.approx(run.result[measure.__name__], abs=1e-5)


@pytest.mark.parametrize("start", ["pretraining", "oml"])
@pytest.mark.parametrize("keeper", KEEPERS)
def test_every_pair_builds(start, keeper):
    assert built(start=start, keeper=keeper).facts["stages"] == 3


@pytest.mark.parametrize(
    "options, message",
    [
        ({"stages": 4}, "stages: got 4, wants 2 or more that divide 6 ways"),
        ({"stages": 1}, "stages: got 1"),
        ({"keeper": "ridge", "lam": 0.0}, "lam: got 0.0"),
        ({"keeper": "replay", "capacity": 0}, "capacity: got 0"),
        ({"keeper": "fine_tuning", "stream_rate": -1.0}, "stream_rate: got -1.0"),
        ({"start": "oml", "inner_rate": 0.0}, "inner_rate: got 0.0"),
        ({"classes": 1}, "classes: got 1"),
    ],
)
def test_bad_options_are_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        built(**options)
    assert "\n" not in str(error.value)
