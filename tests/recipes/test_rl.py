"""Policies that learn to learn, through the runner: tiny nets, short episodes."""

import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.recipes import reinforcement
from jaxmeta.runs import ConfigError, Settings
from jaxmeta.runs.job import build
from jaxmeta.runs.making import make
from jaxmeta.runs.registry import known

TINY = {
    "maml-pg": {"hidden": (4,), "plays": 3, "horizon": 3, "batch": 2, "steps": 2},
    "rl2": {"hidden": 4, "plays": 2, "pulls": 3, "batch": 2, "steps": 2},
}


def built(name, options):
    return build(make(known()[name], options), Settings())


@pytest.mark.parametrize("name", TINY)
def test_a_run_reports_returns(name, tmp_path):
    out = jm.runs.train(
        known()[name], out=tmp_path / "run", options=TINY[name], say=lambda _: None,
        chunk=2, episodes=6, validate_episodes=6, validate_every=2,
    )  # fmt: skip
    run = jm.runs.load(out)
    result, curve = run.result, run.result["adaptation"]
    assert result["metric"] == "return" and result["kept"] == "best"
    assert "val_return" in run.metrics[-1]
    # the test is a point of the curve: the same tasks, the same luck
    used = curve["after"].index(result["adapted"])
    np.testing.assert_allclose(curve["return"][used], result["return"], rtol=1e-5)
    page = (out / "report.html").read_text()
    assert "return" in page and "<h2>Adaptation</h2>" in page
    low, high = (-np.inf, 0) if name == "maml-pg" else (0, 3)
    assert low <= result["return"] <= high
    with pytest.raises(ValueError, match="learner: got none"):
        _ = run.learner


@pytest.mark.parametrize("env", reinforcement.WORLDS)
@pytest.mark.parametrize("name", TINY)
def test_every_environment_builds(name, env):
    small = {k: v for k, v in TINY[name].items() if k not in ("horizon", "pulls")}
    assert built(name, small | {"env": env}).experiment.facts["horizon"] >= 10


@pytest.mark.parametrize("objective", reinforcement.OBJECTIVES)
@pytest.mark.parametrize("name", TINY)
def test_every_objective_builds(name, objective):
    built(name, TINY[name] | {"objective": objective})


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("maml-pg", {"inner_rate": 0.0}, "inner_rate: got 0.0"),
        ("maml-pg", {"inner_steps": -1}, "inner_steps: got -1"),
        ("maml-pg", {"plays": 0}, "(plays|episodes): got 0"),
        ("maml-pg", {"discount": 2.0}, "discount: got 2.0"),
        ("maml-pg", {"env": "cartpole"}, "env: got 'cartpole'"),
        ("maml-pg", {"env": "bandit", "horizon": 3}, "horizon: got an unknown option"),
        ("maml-pg", {"surrogate": "none"}, "surrogate: got 'none'"),
        ("maml-pg", {"rate": 0.0}, "rate: got 0.0"),
        ("rl2", {"trial": 0}, "trial: got 0"),
        ("rl2", {"hidden": 0}, "hidden: got 0"),
        ("rl2", {"plays": 0}, "plays: got 0"),
        ("rl2", {"objective": "ppo", "epochs": 0}, "epochs: got 0"),
    ],
)
def test_bad_options_are_one_line(name, options, message):
    with pytest.raises(ConfigError, match=message) as error:
        built(name, options)
    assert "\n" not in str(error.value)
