"""A run leaves what it promises, and a stopped run goes on as if nothing had been."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

import jaxmeta.runs.folder
import jaxmeta.runs.loop
from jaxmeta.runs import ConfigError, RunError, evaluate, load, train
from jaxmeta.runs.folder import read_config
from jaxmeta.runs.registry import known
from jaxmeta.runs.stop import Interrupted

from .conftest import OPTIONS, RECIPE, SETTINGS, tiny

PROMISED = (
    "recipe learner accuracy ci95 episodes ways shots queries seed steps transductive "
    "tasks_per_second wall_seconds fingerprint"
)


def rows(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def leaves(out):
    snapshot = load(out).snapshot
    return [np.asarray(x) for x in jax.tree.leaves(snapshot[:2])], snapshot


def test_folder_holds_what_is_promised(finished):
    out, lines = finished
    result = json.loads((out / "result.json").read_text())
    assert set(PROMISED.split()) <= set(result)
    assert result["transductive"] is False and result["episodes"] == 6
    assert [row["step"] for row in rows(out)] == [0, 4, 8, 10]
    assert all("val_accuracy" in row for row in rows(out))
    assert {"loss", "accuracy", "tasks_per_second"} <= set(rows(out)[-1])
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == [
        "00000008",
        "00000010",
    ]
    assert "accuracy" in lines[-2] and "±" in lines[-2]


def test_folder_says_how_to_do_it_again(finished):
    config = read_config(finished[0])
    assert config.recipe == {"package": RECIPE}
    given = OPTIONS | {"hidden": [12]}
    assert config.options.items() >= given.items()
    assert config.options["schedule"] == "cosine"  # what was not said is kept as well
    assert {name: getattr(config.settings, name) for name in SETTINGS} == SETTINGS
    assert config.settings.out == str(finished[0])


def test_steps_are_those_of_the_schedule(tmp_path, monkeypatch):
    """The cosine of a recipe falls to 0 at the step that the run ends with."""

    def enough(*args):
        raise RunError("enough")

    monkeypatch.setattr(jaxmeta.runs.loop, "run", enough)
    with pytest.raises(RunError, match="enough"):
        train(known()[RECIPE], out=tmp_path, steps=10, say=str)
    tx = load(tmp_path).experiment.outer
    params = {"w": np.ones(3)}
    state = tx.init(params)
    count = [isinstance(x, jax.Array) and x.ndim == 0 for x in jax.tree.leaves(state)]
    ended = jax.tree.unflatten(
        jax.tree.structure(state),
        [
            np.asarray(10, x.dtype) if is_count else x
            for x, is_count in zip(jax.tree.leaves(state), count, strict=True)
        ],
    )
    updates, _ = tx.update(params, ended, params)
    np.testing.assert_allclose(updates["w"], 0.0, atol=1e-9)
    updates, _ = tx.update(params, state, params)
    assert (abs(updates["w"]) > 1e-4).all()


def test_report_shows_pictures_and_numbers(finished):
    out, _ = finished
    page = (out / "report.html").read_text()
    result = json.loads((out / "result.json").read_text())
    assert page.count('<svg class="plot"') >= 2
    assert f"{100 * result['accuracy']:.2f} %" in page
    assert "://" not in page  # nothing is fetched


def test_run_comes_back_in_python(finished):
    found = load(finished[0])
    result = json.loads((finished[0] / "result.json").read_text())
    assert found.result == result and found.metrics == rows(finished[0])
    assert found.step == result["kept_step"]
    key = jax.random.key(0)
    for opened in (found, found.again({"ways": 3})):
        episode = opened.experiment.tasks.test(key)
        fast = jax.jit(opened.learner.adapt)(opened.meta, episode.support, key)
        predict = jax.jit(opened.learner.predict)
        logits = predict(opened.meta, fast, episode.query.inputs)
        assert logits.shape == episode.query.targets.shape
    assert logits.shape == (9, 3)
    with pytest.raises(ConfigError, match=r"options: got hidden = .*parameters fit"):
        found.again({"hidden": (13,)})
    with pytest.raises(ConfigError, match="wayz: got an unknown option"):
        found.again({"wayz": 3})


def test_finished_run_says_so(finished):
    lines = []
    tiny(finished[0], say=lines.append)
    assert "finished already" in lines[0]


def test_other_settings_are_refused(finished):
    with pytest.raises(ConfigError, match=r"out: got .*rate = 0.001 and not 0.01"):
        tiny(finished[0], rate=0.01)


def test_someone_elses_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="something else"):
        tiny(tmp_path)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_stopped_run_goes_on_bit_for_bit(
    finished, tmp_path, monkeypatch, number, status
):
    append = jaxmeta.runs.folder.Metrics.append

    def stop_at_4(self, row):
        append(self, row)
        if row["step"] == 4:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(jaxmeta.runs.folder.Metrics, "append", stop_at_4)
    with pytest.raises(Interrupted) as stopped:
        tiny(tmp_path / "run")
    assert stopped.value.status == status
    assert not (tmp_path / "run/result.json").exists()
    monkeypatch.undo()
    lines = []
    tiny(tmp_path / "run", say=lines.append)
    assert "continued from step 4" in lines[0]

    there, snapshot = leaves(finished[0])
    here, other = leaves(tmp_path / "run")
    assert all(np.array_equal(a, b) for a, b in zip(there, here, strict=True))
    assert snapshot.info["best"] == other.info["best"]

    def timeless(out):
        return [{**row, "tasks_per_second": 0} for row in rows(out)]

    assert timeless(finished[0]) == timeless(tmp_path / "run")


def test_evaluate_repeats_the_result_and_keeps_it(finished, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "copy")
    before = (out / "result.json").read_bytes()
    again, first = evaluate(out, episodes=6, say=lambda line: None), json.loads(before)
    assert (out / "result.json").read_bytes() == before
    assert json.loads((out / "evaluation-6.json").read_text()) == again
    assert again["accuracy"] == first["accuracy"] and again["ci95"] == first["ci95"]
    assert again["changed"] == {}


def test_evaluate_on_other_tasks_says_which(finished, tmp_path):
    out = shutil.copytree(finished[0], tmp_path / "copy")
    options = {"sampler": "dirichlet", "ways": 4}
    found = evaluate(out, episodes=4, options=options, say=lambda line: None)
    assert found["changed"] == options and found["ways"] == 4
    # what was not said is as in training
    assert found["queries"] == 3 and found["concentration"] == 2.0
    assert (out / "evaluation-4-sampler-dirichlet-ways-4.json").is_file()


def test_loss_that_is_not_finite_stops_the_run(tmp_path):
    options = {"rate": 1e38, "optimiser": "sgd", "schedule": "constant"}
    with pytest.raises(RunError, match=r"loss: got .* at outer step \d+"):
        tiny(tmp_path / "x", **options)
