"""Runs on the same episodes, in pairs; what cannot be compared is refused in a line."""

import json

import jax
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.runs import ConfigError, compare, keys, load

from .conftest import tiny

EPISODES = 8


@pytest.fixture(scope="module")
def control(finished):
    return load(finished[0])


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """The same tasks, another method."""
    out = tmp_path_factory.mktemp("other") / "maml"
    brief = {"validate_every": 0, "episodes": 2}
    return load(tiny(out, learner="maml", inner_steps=1, steps=2, settings=brief))


def scores(run):
    found = jm.evaluate(
        run.learner,
        run.meta,
        run.experiment.tasks.test,
        keys.test(),
        episodes=EPISODES,
    )
    return np.asarray(found.scores, float)


def test_differences_are_those_of_pairs(control, other, tmp_path):
    said = []
    found = compare(
        [control, other.path], episodes=EPISODES, out=tmp_path / "out", say=said.append
    )
    first, second = found["runs"]
    a, b = scores(control), scores(other)
    assert a.std() > 0 and not np.allclose(a, b)
    assert first["accuracy"] == pytest.approx(a.mean()) and "difference" not in first
    assert second["accuracy"] == pytest.approx(b.mean())
    d = b - a
    half = 2.364624 * d.std(ddof=1) / np.sqrt(EPISODES)  # t of 7 degrees of freedom
    assert second["difference"] == pytest.approx(d.mean(), abs=1e-7)
    assert second["difference_ci95"] == pytest.approx(half, rel=1e-5)
    assert (found["ways"], found["shots"], found["queries"]) == (2, 1, 3)
    assert second["learner"] == "maml" and second["batch"] == 2

    assert json.loads((tmp_path / "out/comparison.json").read_text()) == found
    assert f"{100 * d.mean():+.2f}" in said[-2]
    page = (tmp_path / "out/comparison.html").read_text()
    assert page.count('<svg class="plot"') == 2
    assert "prefers-color-scheme: dark" in page and "://" not in page
    assert (
        str(other.path) in page and f"{100 * d.mean():+.2f} ± {100 * half:.2f}" in page
    )


def test_a_run_is_no_better_than_itself(control, tmp_path):
    found = compare([control, control], episodes=4, out=tmp_path, say=str)
    assert found["runs"][1]["difference"] == found["runs"][1]["difference_ci95"] == 0


def refused(first, other, tmp_path, **more):
    with pytest.raises(ConfigError) as error:
        compare([first, other], episodes=4, out=tmp_path / "out", say=str, **more)
    assert not (tmp_path / "out").exists()
    return str(error.value)


def as_if(run, **fields):
    """A run of the same parameters, whose experiment is another one."""
    return load(run.path, run.experiment._replace(**fields))


def test_other_tasks_are_refused(control, tmp_path):
    facts = {**control.experiment.facts, "shots": 5}
    assert "shots = 5, wants 1" in refused(
        control, as_if(control, facts=facts), tmp_path
    )
    # the same words for other episodes
    task = control.experiment.tasks.test
    tasks = jm.runs.Tasks(task, task, lambda key: task(jax.random.fold_in(key, 1)))
    said = refused(control, as_if(control, tasks=tasks), tmp_path)
    assert "whose test episodes are others" in said


def test_another_measure_is_refused(control, tmp_path):
    def judge(meta, task, key, episodes):
        return jm.Evaluation(0.0, 0.0, np.zeros(episodes), "return", episodes, False)

    said = refused(control, as_if(control, judge=judge), tmp_path)
    assert "judged by return, wants accuracy" in said


def test_transductive_beside_inductive_is_refused(control, tmp_path):
    learner = control.learner

    def predict(meta, fast, inputs):
        own = learner.predict(meta, fast, inputs)
        return own + (own - own.mean(0)) * np.arange(2)  # by the company it is in

    company = as_if(control, tester=learner._replace(predict=predict))
    said = refused(control, company, tmp_path)
    assert "transductive, wants inductive runs" in said
    assert "inductive, wants transductive runs" in refused(company, control, tmp_path)
    found = compare([company, company], episodes=4, out=tmp_path / "out", say=str)
    assert [row["transductive"] for row in found["runs"]] == [True, True]


def test_bad_input_is_refused_first(control, finished, tmp_path):
    with pytest.raises(ConfigError, match="runs: got 1, wants two or more"):
        compare([control])
    with pytest.raises(
        ConfigError, match=r"out: got .*, wants a folder that is no run"
    ):
        compare([control, control], out=finished[0])
    with pytest.raises(ConfigError, match="episodes: got 1"):
        compare([control, control], episodes=1)
