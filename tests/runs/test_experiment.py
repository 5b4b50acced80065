"""An experiment that was made in Python: no recipe, and what only it has comes with it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.core import Aux, Meta
from jaxmeta.runs import ConfigError, Experiment, HostBatches, Tasks, keys, load, train
from jaxmeta.runs.job import abstract_state, build
from jaxmeta.runs.settings import Settings
from jaxmeta.runs.training import as_made

SHORT = {"chunk": 3, "episodes": 4, "validate_episodes": 4, "say": str}


def curves(**fields):
    task = jm.tasks.sinusoid(5, 5)
    learner = jm.maml(
        jm.models.mlp(1, hidden=(8,)),
        optax.sgd(0.01),
        steps=1,
        criterion=jm.criteria.regression,
    )
    made = Experiment(learner, Tasks(task, task, task), optax.adam(1e-3), 3, 2)
    return made._replace(**fields)


def test_what_it_measures_is_in_the_result(tmp_path):
    def measure(finished):
        return {"worst": float(np.max(finished.found.scores))}

    mine = curves(measures=(measure,), facts={"shots": 5}, title="curves of mine")
    out = train(mine, out=tmp_path / "run", **SHORT)
    result = json.loads((out / "result.json").read_text())
    page = (out / "report.html").read_text()
    assert result["mse"] > 0 and f"{result['mse']:.4f}" in page
    assert result["worst"] >= result["mse"] and result["shots"] == 5
    assert "curves of mine" in page
    with pytest.raises(ConfigError, match=r"made in Python, wants .*load\(path, exp"):
        load(out)
    assert load(out, mine).result == result
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a.shape, b.shape),
        load(out, mine).meta.params,
        mine.learner.init(jax.random.key(0), mine.tasks.test(jax.random.key(0))).params,
    )


def counting():
    """Fits a number to batches from the host; there is no learner."""
    objective = jm.from_loss(
        lambda key, batch: Meta({"w": jnp.zeros(())}),
        lambda meta, x, key: (jnp.mean(jnp.square(meta.params["w"] - x)), Aux({})),
    )

    def judge(meta, tasks, key, episodes):
        scores = np.full(episodes, float(meta.params["w"]))
        return jm.train.Evaluation(scores[0], 0.0, scores, "w", episodes, False)

    host = HostBatches(lambda step: np.full(2, step + 1, np.float32))
    return Experiment(
        None, Tasks(host), optax.sgd(0.5), 3, 2, objective=objective, judge=judge
    )


def test_batches_from_the_host_without_a_learner(tmp_path):
    out = train(counting(), out=tmp_path / "run", **SHORT)
    # w <- w - 0.5 * 2 (w - x): the batch of the last step
    assert json.loads((out / "result.json").read_text())["w"] == 3.0
    run = load(out, counting())
    assert float(run.meta.params["w"]) == 3.0
    with pytest.raises(ValueError, match="learner: got none"):
        _ = run.learner


def test_start_is_where_it_starts():
    given = curves().learner.init(
        jax.random.key(9), jm.tasks.sinusoid()(jax.random.key(9))
    )
    job = build(as_made(curves(start=given)), Settings())

    state = job.start(jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, state.meta.params, given.params)
    other = given._replace(params={"w": jnp.ones(3)})
    with pytest.raises(ValueError, match="start: got parameters of another network"):
        build(as_made(curves(start=other)), Settings())


def test_the_first_state_is_traced_once():
    """For the checks, for the shapes of its checkpoints, and for the run itself."""
    learner, traced = curves().learner, []

    def init(key, episode):
        traced.append(key)
        return learner.init(key, episode)

    job = build(as_made(curves(learner=learner._replace(init=init))), Settings())
    shapes = jax.tree.map(jnp.shape, job.start(keys.init(keys.root(0))))
    assert jax.tree.map(jnp.shape, abstract_state(job)) == shapes
    assert len(traced) == 1


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"steps": 0}, {}, "steps: got 0, wants an integer >= 1"),
        ({"batch": 2.0}, {}, "batch: got 2.0, wants an integer"),
        ({}, {"steps": 0}, "steps: got 0"),
        ({}, {"task_chunk": 3}, "task_chunk: got 3, wants a divisor of batch = 2"),
        ({"learner": None}, {}, "learner: got None"),
        ({}, {"inner_alarm": 0.0}, "inner_alarm: got 0.0"),
    ],
)
def test_bad_input_is_one_line(change, settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        build(as_made(curves(**change)), Settings(**settings))
    assert "\n" not in str(error.value)


def test_settings_that_are_none(tmp_path):
    with pytest.raises(ConfigError, match="wayz: got an unknown setting"):
        train(curves(), out=tmp_path / "run", wayz=3)
    with pytest.raises(ConfigError, match=r"options: got .*has been made"):
        train(curves(), out=tmp_path / "run", options={"ways": 3})
    assert not (tmp_path / "run").exists()
