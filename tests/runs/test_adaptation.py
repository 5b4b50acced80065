"""Domain adaptation by the command line: on made-up reviews, without a target label."""

import dataclasses
import gzip
import json

import numpy as np
import pytest
from jaxmeta.runs.adaptation import ADAPTATION, make_tasks
from jaxmeta.runs.build import abstract_state, build

from jaxmeta.runs import RECIPES, ConfigError
from jaxmeta.runs.train import train

RECIPE = dataclasses.replace(
    RECIPES["amazon-dann-books-dvd"],
    hidden=(6,), words=22, queries=2, steps=40, tasks=16, chunk=20, episodes=4,
    validate_episodes=4, validate_every=20, rate=0.01,
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two domains of 80 reviews in 5,000 words, of which a few are used."""
    folder = tmp_path_factory.mktemp("reviews")
    random = np.random.default_rng(0)
    for name in ("books", "dvd"):
        for part in ("train", "test"):
            lines = []
            for i in range(80):
                words = {*random.choice(20, 6, replace=False).tolist(), 20 + i % 2}
                words = sorted(words)  # one word gives the class away
                lines.append(f"{i % 2} " + " ".join(f"{w}:1" for w in words))
            text = "\n".join(lines).encode()
            (folder / f"{name}_{part}.svmlight.gz").write_bytes(gzip.compress(text))
    return str(folder)


def test_run_says_what_chose(root, tmp_path):
    out = tmp_path / "run"
    train(dataclasses.replace(RECIPE, data=root, out=str(out)), say=lambda line: None)
    result = json.loads((out / "result.json").read_text())
    assert result["domains"] == "books to dvd"
    assert "no target label" in result["chosen_by"]
    assert result["accuracy"] > 0.9 and not result["transductive"]
    page = (out / "report.html").read_text()
    assert "books to dvd" in page and result["chosen_by"] in page


def test_no_target_label_before_the_test(root):
    """Training and choosing are the same whatever the target's labels are."""
    recipe = dataclasses.replace(RECIPE, data=root)
    pair, choose, test = make_tasks(recipe)
    source, target = pair.args
    assert target._fields == ("inputs",)
    assert len(source.inputs) == 72 and len(target.inputs) == 80  # a tenth is held out
    held = {row.tobytes() for row in np.asarray(choose.args[0])}
    learned = {row.tobytes() for row in np.asarray(source.inputs)}
    assert len(choose.args[0]) == 8 and not held & learned
    assert len(test.args[0]) == 80


@pytest.mark.parametrize("learner", ADAPTATION)
def test_every_method_builds(learner, root):
    abstract_state(build(dataclasses.replace(RECIPE, learner=learner, data=root)))


def test_importance_is_a_weight(root):
    recipe = dataclasses.replace(RECIPE, learner="importance_weighting", data=root)
    source = make_tasks(recipe)[0].args[0]
    weights = np.asarray(source.weights)
    assert weights.std() > 0
    np.testing.assert_array_equal(np.asarray(source.targets).sum(-1), 1.0)
    np.testing.assert_allclose(weights.mean(), 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(target_domain="books"), "target_domain: got books"),
        (dict(target_domain="cds"), "domain 'cds': got books, dvd"),
        (dict(data=None), "data: got nothing"),
        (dict(strength=-1.0), "strength: got -1.0"),
        (dict(ways=3), "ways: got 3"),
        (dict(queries=50), "queries: got 50"),
        (dict(words=0), "words: got 0"),
        (dict(learner="protonet"), "learner: got protonet on amazon"),
        (dict(dataset="glyphs"), "learner: got dann on glyphs"),
        (dict(model="conv4"), "model: got conv4"),
    ],
)
def test_bad_input_is_one_line(change, message, root):
    recipe = dataclasses.replace(RECIPE, **{"data": root, **change})
    with pytest.raises(ConfigError, match=message) as error:
        build(recipe)
    assert "\n" not in str(error.value)
