"""A run that starts with another one's network: what it takes, what it says, what it refuses."""

import json
import shutil

import jax
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.runs import ConfigError, load
from jaxmeta.runs.asked import asked
from jaxmeta.runs.experiment import Experiment, Tasks
from jaxmeta.runs.job import build
from jaxmeta.runs.settings import Settings
from jaxmeta.runs.training import as_made
from jaxmeta.runs.warm import _names, line, warm_start, warmed
from jaxmeta.runs.words import split
from jaxmeta.testing import probe

from .conftest import tiny


def conv(norm):
    return jm.models.conv4(None, filters=4, norm=norm, blocks=1)


def mlp(ways):
    return jm.models.mlp(ways, hidden=(6,))


LEARNERS = {
    "maml": lambda ways: jm.maml(mlp(ways), optax.sgd(0.1), steps=1),
    "meta_sgd": lambda ways: jm.meta_sgd(mlp(ways), steps=1),
    "scheduled": lambda ways: jm.maml_plus_plus(mlp(ways), steps=2),  # with buffers
    "running": lambda _: jm.protonet(conv("batch_running")),
    "relation": lambda _: jm.relation_network(conv(None)),
}


def experiment(learner, ways=2, outer=None):
    images = learner in ("running", "relation")
    task = jm.tasks.glyphs(ways, 1, 2, size=8) if images else probe(ways, 1, 2)
    made = LEARNERS[learner](ways)
    return Experiment(made, Tasks(task, task, task), outer or optax.adam(1e-2))


def run(out, learner, ways=2, **settings):
    few = {"steps": 2, "batch": 2, "chunk": 2, "episodes": 4, "validate_episodes": 4}
    return jm.runs.train(
        experiment(learner, ways), out=out, say=str, **{**few, **settings}
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folders of two finished runs: of a learner without buffers, and of one with."""
    root = tmp_path_factory.mktemp("trained")
    return {name: run(root / name, name) for name in ("maml", "running")}


def start(source, learner, ways=2, **settings):
    """The state before the first step: of a warm run, and of a fresh one."""
    settings = Settings(warm_start=str(source), **settings)
    job = build(as_made(experiment(learner, ways)), settings)
    fresh = job.start(jax.random.key(3))
    warm = warm_start(job)
    return fresh, warmed(job, fresh, warm), warm


def arrays(out, of=None):
    """Names and values of what a checkpoint holds; by default what the run has chosen."""
    last = sorted(out.glob("checkpoints/*"))[-1]
    snapshot = jm.runs.checkpoints.restore(last.parent, None)
    best = snapshot.info["best"]
    meta = snapshot.best if (best if of is None else of) else snapshot.state["meta"]
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(meta)
    }


def named(state):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree.leaves_with_path(state.meta)
    }


@pytest.mark.parametrize(
    ("source", "learner", "ways", "inside", "fresh"),
    [
        ("maml", "maml", 2, "", set()),
        ("maml", "maml", 3, "", {"head/bias", "head/kernel"}),
        ("maml", "meta_sgd", 2, "model/", "rule"),
        ("maml", "scheduled", 2, "model/", "rule"),
        ("running", "relation", 2, "model/", "relation|bias"),
        ("running", "running", 2, "", set()),
    ],
)
def test_what_fits_is_taken_and_the_rest_is_fresh(
    trained, source, learner, ways, inside, fresh
):
    before, after, warm = start(trained[source], learner, ways)
    there, cold, here = arrays(trained[source]), named(before), named(after)
    taken, left = 0, set()
    for name, value in here.items():
        kind, _, rest = name.partition("/")
        old = there.get(f"{kind}/{rest.removeprefix(inside)}")
        if old is not None and old.shape == value.shape:
            assert np.array_equal(value, old), name
            taken += kind == "params"
        else:
            assert np.array_equal(value, cold[name]), name
            left |= {rest.removeprefix(inside)} if kind == "params" else set()
    assert taken == warm.info["taken"] and sorted(left) == warm.info["fresh"]
    assert any(not np.array_equal(here[n], cold[n]) for n in here)
    if isinstance(fresh, str):
        words = fresh.split("|")
        assert left and all(any(w in name for w in words) for name in left)
    else:
        assert left == fresh


def test_the_optimiser_begins_with_the_parameters_that_are_there(trained):
    # its state holds a copy of the parameters
    outer = optax.chain(
        optax.sgd(0.1), optax.contrib.schedule_free(optax.sgd(0.1), 0.1)
    )
    made = as_made(experiment("maml", outer=outer))
    job = build(made, Settings(warm_start=str(trained["maml"])))
    state = warmed(job, job.start(jax.random.key(3)), warm_start(job))
    wanted = outer.init(state.meta.params)
    pairs = zip(jax.tree.leaves(state.opt_state), jax.tree.leaves(wanted), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs) and int(state.step) == 0


def test_a_warm_run_is_judged_before_its_first_step_as_its_source_was(
    finished, tmp_path
):
    out, lines = tmp_path / "warm", []
    settings = {"warm_start": str(finished[0])}
    tiny(out, say=lines.append, settings=settings, steps=4)
    best = load(finished[0]).snapshot.info["best"]
    first = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])
    assert first["step"] == 0 and first["val_accuracy"] == best["val_accuracy"]
    result = json.loads((out / "result.json").read_text())
    assert result["warm_start"] == {
        "run": str(finished[0]),
        "step": best["step"],
        "taken": 2,
        "fresh": [],
    }
    assert f"starts with 2 of 2 parameter arrays of {finished[0]}" in lines[1]
    assert json.loads((out / "config.json").read_text())["settings"]["warm_start"]


def test_a_stopped_warm_run_needs_its_source_no_more(trained, tmp_path, monkeypatch):
    source = shutil.copytree(trained["maml"], tmp_path / "source")
    more = {"warm_start": str(source), "checkpoint_every": 2, "steps": 4}
    whole = run(tmp_path / "whole", "maml", **more)

    class Enough(Exception):
        pass

    append = jm.runs.folder.Metrics.append

    def stop(self, row):
        append(self, row)
        if row["step"] == 4:
            raise Enough

    monkeypatch.setattr(jm.runs.folder.Metrics, "append", stop)
    with pytest.raises(Enough):
        run(tmp_path / "run", "maml", **more)
    monkeypatch.undo()
    shutil.rmtree(source)
    again = run(tmp_path / "run", "maml", **more)
    a, b = arrays(whole, of=False), arrays(again, of=False)
    assert a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)
    results = [json.loads((p / "result.json").read_text()) for p in (whole, again)]
    assert results[0]["warm_start"] == results[1]["warm_start"]


def test_without_validation_it_is_the_last_step_that_is_taken(tmp_path):
    source = run(tmp_path / "last", "maml", keep="last")
    _, after, warm = start(source, "maml")
    there = arrays(source, of=False)
    assert warm.info["step"] == 2
    assert all(np.array_equal(v, there[n]) for n, v in named(after).items())


def test_names_that_two_arrays_would_share_are_kept_apart():
    def init(key, inputs):
        kernel = jax.random.normal(key, (2,))
        return jm.Meta({"model": {"w": kernel}, "w": -kernel}, {})

    assert _names(init(jax.random.key(0), None)) == ["params/model/w", "params/w"]


def test_a_line_names_what_stays_fresh(trained):
    warm = start(trained["maml"], "maml", 3)[2]
    said = f"starts with 2 of 4 parameter arrays of {trained['maml']}, step "
    assert line(warm).startswith(said)
    assert line(warm).endswith("; fresh: head/bias, head/kernel")


def test_a_source_is_read_and_never_written(trained, tmp_path):
    """Where its newest step is damaged, the one before is taken."""
    source = shutil.copytree(trained["maml"], tmp_path / "source")
    newest = max((source / "checkpoints").iterdir())
    older = shutil.copytree(newest, newest.with_name("00000001"))
    next(p for p in (newest / "arrays").rglob("*") if p.is_file()).unlink()
    before = sorted(source.rglob("*"))
    with pytest.warns(
        UserWarning, match=f"checkpoint {newest.name} is damaged"
    ) as said:
        start(source, "maml")
    assert len(said) == 1 and "kept as" not in str(said[0].message)
    shutil.rmtree(older / "arrays")
    with (
        pytest.warns(UserWarning, match="is damaged"),
        pytest.raises(ConfigError, match=r"wants a run that can be read: .*2 damaged"),
    ):
        start(source, "maml")
    gone = [p for p in before if p == older / "arrays" or older / "arrays" in p.parents]
    assert sorted(source.rglob("*")) == [p for p in before if p not in gone]


def test_a_step_that_a_running_source_drops_is_not_damaged(
    trained, tmp_path, monkeypatch, recwarn
):
    source = shutil.copytree(trained["maml"], tmp_path / "source")
    first = max((source / "checkpoints").iterdir())
    read = jm.runs.checkpoints._verify

    def meanwhile(path):
        if path == first:  # it has saved once more, and drops this one
            first.rename(first.with_name("00000009"))
        read(path)

    monkeypatch.setattr(jm.runs.checkpoints, "_verify", meanwhile)
    assert start(source, "maml")[2].info["taken"] == 4
    assert not recwarn.list


@pytest.mark.parametrize(
    "damage", ["missing", "a file", "no home", "empty", "no network of it", "fork"]
)
def test_a_source_that_cannot_be_used_is_refused_and_nothing_is_written(
    trained, tmp_path, damage
):
    source, learner, more = tmp_path / "source", "maml", {}
    if damage == "empty":
        shutil.copytree(trained["maml"], source)
        shutil.rmtree(source / "checkpoints")
        wants = "wants a run that has saved a checkpoint"
    elif damage == "no network of it":
        source, wants = (
            trained["running"],
            r"wants a run with arrays such as .*; it has",
        )
        source = tiny(source.parent / "mlp")  # layer1/kernel, layer2/kernel
    elif damage == "fork":
        source, more = trained["maml"], {"fork": str(trained["maml"])}
        wants = "wants no --fork beside it"
    elif damage == "a file":
        source.write_text("")
        wants = r"got .*source \(a file\), wants a folder that jaxmeta train wrote"
    elif damage == "no home":
        source = "~nobody-of-this-name/run"
        wants = r"got ~nobody.*run \(no such folder\), wants a folder that jaxmeta"
    else:
        wants = (
            r"got .*source \(no such folder\), wants a folder that jaxmeta train wrote"
        )
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=wants) as error:
        run(out, learner, warm_start=str(source), **more)
    assert str(error.value).startswith("warm_start: got ")
    assert len(str(error.value).splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize("option", ["out", "fork", "warm_start"])
def test_an_empty_name_is_refused(option):
    """Of a variable of a shell that was not set: no run starts cold without a word."""
    with pytest.raises(ConfigError, match=f"{option}: got '', wants a folder"):
        jm.runs.train(experiment("maml"), steps=1, **{option: ""})


def test_a_fork_of_a_warm_run_has_all_of_it_already(trained, tmp_path):
    warm = tiny(tmp_path / "a", steps=4)
    warm = tiny(tmp_path / "b", steps=4, settings={"warm_start": str(warm)})
    found = asked(split(["--fork", str(warm), "--steps", "8"]), None, "none")
    assert found.settings.fork == str(warm) and found.settings.warm_start is None
    found = asked(split([str(warm)]), None, "none")  # goes on with it
    assert found.settings.warm_start is not None
