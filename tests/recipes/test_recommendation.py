"""The recipes of recommendation on small files: they train, and say what is wrong."""

import json

import numpy as np
import pytest

from jaxmeta import runs
from jaxmeta.runs import ConfigError
from jaxmeta.runs.registry import known
from tests.scorecard import tiny

SMALL = {
    "shots": 2, "train_shots": 3, "queries": 3, "hidden": (4,), "width": 2, "steps": 2,
    "batch": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 users and 60 films in RecBole's layout, everything rated."""
    root = tmp_path_factory.mktemp("ml-100k")
    random = np.random.default_rng(0)
    rated = [f"{u}\t{i}\t{random.integers(1, 6)}" for u in range(40) for i in range(60)]
    users = [f"{u}\t{20 + u}\t{'FM'[u % 2]}\twriter" for u in range(40)]
    films = [f"{i}\tfilm {i}\t{1950 + i}\t{('War', 'Drama')[i % 2]}" for i in range(60)]
    for kind, columns, lines in (
        ("inter", "user_id item_id rating", rated),
        ("user", "user_id age gender occupation", users),
        ("item", "item_id movie_title release_year class", films),
    ):
        head = "\t".join(f"{name}:token" for name in columns.split())
        (root / f"ml-100k.{kind}").write_text("\n".join([head, *lines]) + "\n")
    return root


def test_trains_and_reports_stars(folder, tmp_path):
    experiment = known()["movielens-cnp"](data=str(folder), cell="new_both", **SMALL)
    out = tmp_path / "run"
    runs.train(experiment, out=str(out), episodes=4, validate_every=0)
    found = json.loads((out / "result.json").read_text())
    assert 0 < found["rmse"] < 10
    assert found["cell"] == "new_both" and found["transductive"] is False


def test_melu_leaves_the_embeddings(folder):
    import jax

    experiment = known()["movielens-melu"](data=str(folder), inner_steps=1, **SMALL)
    learner, task = experiment.learner, experiment.tasks.train
    episode = task(jax.random.key(0))
    meta = learner.init(jax.random.key(1), episode)
    fast = jax.eval_shape(learner.adapt, meta, episode.support, jax.random.key(2))
    named = jax.tree_util.tree_flatten_with_path(fast)[0]
    paths = [jax.tree_util.keystr(path) for path, _ in named]
    assert paths and not any("embed" in path for path in paths)
    assert "embed" in meta.params


@pytest.mark.parametrize(
    "options, message",
    [
        ({}, "data: got nothing"),
        ({"data": "/nowhere"}, "data: got /nowhere, which is no folder"),
        ({"shots": 30}, "shots: got 30, wants an integer from 1 to train_shots, 20"),
        ({"hide_user": 2.0}, "hide_user: got 2.0"),
        ({"cell": "old"}, "cell: got 'old'"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        known()["movielens"](**options)


def test_damaged_data_are_one_line(folder, tmp_path):
    for file in folder.iterdir():
        text = file.read_text()
        (tmp_path / file.name).write_text(text.replace("\t5\n", "\t\n", 1))
    with pytest.raises(
        ConfigError, match=r"ml-100k.inter, line \d+: got an empty rating"
    ):
        known()["movielens"](data=str(tmp_path))


def test_melu_says_what_network_it_wants():
    with pytest.raises(ConfigError, match="wants a network with embeddings"):
        tiny.job("melu")
