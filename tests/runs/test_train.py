"""A run leaves what it promises, and a stopped run goes on as if nothing had been."""

import dataclasses
import json
import os
import shutil
import signal

import numpy as np
import pytest
from jaxmeta.runs.adaptation import ADAPTATION
from jaxmeta.runs.build import METHODS, abstract_state, build

import jaxmeta.runs.folder
from jaxmeta.runs import RECIPES, ConfigError, RunError
from jaxmeta.runs.evaluate import evaluate, load_snapshot
from jaxmeta.runs.folder import RunFolder, read_config
from jaxmeta.runs.stop import Interrupted
from jaxmeta.runs.train import train

from .conftest import TINY

PROMISED = (
    "recipe learner accuracy ci95 episodes ways shots queries seed steps transductive "
    "tasks_per_second wall_seconds fingerprint"
)


def rows(out):
    lines = (out / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def leaves(out):
    import jax

    job = build(read_config(out))
    snapshot = load_snapshot(RunFolder(out), job)
    return [np.asarray(x) for x in jax.tree.leaves(snapshot[:2])], snapshot


def test_folder_holds_what_is_promised(finished):
    out, lines = finished
    result = json.loads((out / "result.json").read_text())
    assert set(PROMISED.split()) <= set(result)
    assert result["transductive"] is False and result["episodes"] == 6
    assert read_config(out) == dataclasses.replace(TINY, out=str(out))
    assert [row["step"] for row in rows(out)] == [0, 4, 8, 10]
    assert all("val_accuracy" in row for row in rows(out))
    assert {"loss", "accuracy", "tasks_per_second"} <= set(rows(out)[-1])
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == [
        "00000008",
        "00000010",
    ]
    assert "accuracy" in lines[-2] and "±" in lines[-2]


def test_report_shows_pictures_and_numbers(finished):
    out, _ = finished
    page = (out / "report.html").read_text()
    result = json.loads((out / "result.json").read_text())
    assert page.count("data:image/png;base64,") == 6  # three pictures, light and dark
    assert f"{100 * result['accuracy']:.2f} %" in page
    assert "http" not in page  # nothing is fetched


def test_mann_is_judged_by_instance(tmp_path):
    recipe = dataclasses.replace(
        TINY,
        learner="mann",
        sharpness=5.0,
        steps=2,
        validate_every=0,
        out=str(tmp_path),
    )
    train(recipe)
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["instances"]) == recipe.shots + recipe.queries
    assert all(0 <= x <= 1 for x in result["instances"])


def test_finished_run_says_so(finished):
    out, _ = finished
    lines = []
    train(dataclasses.replace(TINY, out=str(out)), say=lines.append)
    assert "finished already" in lines[0]


def test_other_settings_are_refused(finished):
    out, _ = finished
    with pytest.raises(ConfigError, match=r"out: got .*rate = 0.001 and not 0.01"):
        train(dataclasses.replace(TINY, out=str(out), rate=0.01))


def test_someone_elses_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match="something else"):
        train(dataclasses.replace(TINY, out=str(tmp_path)))


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)]
)
def test_stopped_run_goes_on_bit_for_bit(
    finished, tmp_path, monkeypatch, number, status
):
    recipe = dataclasses.replace(TINY, out=str(tmp_path / "run"))
    append = jaxmeta.runs.folder.Metrics.append

    def stop_at_4(self, row):
        append(self, row)
        if row["step"] == 4:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(jaxmeta.runs.folder.Metrics, "append", stop_at_4)
    with pytest.raises(Interrupted) as stopped:
        train(recipe)
    assert stopped.value.status == status
    assert not (tmp_path / "run/result.json").exists()
    monkeypatch.undo()
    lines = []
    train(recipe, say=lines.append)
    assert "continued from step 4" in lines[0]

    there, snapshot = leaves(finished[0])
    here, other = leaves(tmp_path / "run")
    assert all(np.array_equal(a, b) for a, b in zip(there, here, strict=True))
    assert snapshot.info["best"] == other.info["best"]

    def timeless(out):
        return [{**row, "tasks_per_second": 0} for row in rows(out)]

    assert timeless(finished[0]) == timeless(tmp_path / "run")


def test_evaluate_repeats_the_result_and_keeps_it(finished, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(finished[0], out)
    before = (out / "result.json").read_bytes()
    file = evaluate(out, 6, say=lambda line: None)
    assert (out / "result.json").read_bytes() == before
    again, first = json.loads(file.read_text()), json.loads(before)
    assert file.name == "evaluation-6.json"
    assert again["accuracy"] == first["accuracy"] and again["ci95"] == first["ci95"]


def test_loss_that_is_not_finite_stops_the_run(tmp_path):
    recipe = dataclasses.replace(
        TINY, rate=1e38, optimiser="sgd", schedule="constant", out=str(tmp_path / "x")
    )
    with pytest.raises(RunError, match=r"loss: got .* at outer step \d+"):
        train(recipe)


def test_sinusoid_run(tmp_path):
    recipe = dataclasses.replace(
        RECIPES["sinusoid-maml"],
        hidden=(8,),
        steps=3,
        tasks=2,
        chunk=3,
        episodes=4,
        validate_episodes=4,
        out=str(tmp_path / "run"),
    )
    train(recipe, say=lambda line: None)
    result = json.loads((tmp_path / "run/result.json").read_text())
    page = (tmp_path / "run/report.html").read_text()
    assert result["mse"] > 0 and f"{result['mse']:.4f}" in page
    assert page.count("data:image/png;base64,") == 6


def test_every_learner_has_a_row():
    from jaxmeta.learners import LEARNERS

    # domain adaptation has no support set to learn from: no learners, but objectives
    assert set(METHODS) - set(ADAPTATION) <= set(LEARNERS)


@pytest.mark.parametrize("name", [n for n, r in RECIPES.items() if r.data is None])
def test_recipes_build(name):
    recipe = RECIPES[name]
    assert recipe.summary and recipe.name == name
    if recipe.dataset in ("glyphs", "sinusoid", "sine_or_line"):
        abstract_state(build(recipe))
    else:
        with pytest.raises(ConfigError, match="data: got nothing"):
            build(recipe)
