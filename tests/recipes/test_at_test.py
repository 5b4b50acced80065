"""`--test-time`: queries that are classified together, from options to result.json."""

import json

import jax
import numpy as np
import pytest

from jaxmeta import criteria, models, train
from jaxmeta.recipes.at_test import TEST_TIME
from jaxmeta.recipes.methods import table
from jaxmeta.recipes.metric import EMBEDDINGS
from jaxmeta.recipes.parts import Room, Side
from jaxmeta.runs import ConfigError, load
from jaxmeta.runs import train as run
from jaxmeta.runs.docstrings import summary_of
from jaxmeta.runs.making import make
from jaxmeta.runs.options import own_options
from jaxmeta.runs.registry import known
from jaxmeta.testing import probe

TINY = {"network": "mlp", "hidden": (8,), "size": 8, "ways": 2, "queries": 3}
FEW = {"validate_every": 0, "episodes": 4, "say": lambda line: None}
TOGETHER = ("tim", "alpha_tim", "laplacian_shot", "bd_cspn", "pt_map")


@pytest.mark.parametrize("name", TEST_TIME)
def test_every_option_says_what_it_is(name):
    assert summary_of(TEST_TIME[name])
    assert [o.name for o in own_options(TEST_TIME[name]) if not o.help] == []


def test_a_result_says_that_it_is_transductive(tmp_path):
    options = TINY | {"steps": 2, "batch": 2}
    found = {}
    for name in ("nothing", "bd_cspn"):
        given = options | {"test_time": name}
        out = run(known()["few-shot"], out=tmp_path / name, options=given, **FEW)
        found[name] = json.loads((out / "result.json").read_text())
        assert found[name]["test_time"] == name
    assert found["nothing"]["transductive"] is False
    assert found["bd_cspn"]["transductive"] is True
    assert "predicted together" in (tmp_path / "bd_cspn" / "report.html").read_text()
    # another way for the test: the options of this one go with it
    again = load(tmp_path / "bd_cspn", options={"test_time": "nothing"})
    assert again.experiment.facts["test_time"] == "nothing"


@pytest.mark.parametrize("name", TOGETHER)
def test_each_moves_predictions_of_the_test_alone(name):
    more = {"test_time_rate": 0.1} if "tim" in name else {}
    given = TINY | {"test_time": name, "shots": 2, **more}
    if name != "bd_cspn":
        given["test_time_steps"] = 3
    made = make(known()["few-shot"], given).experiment
    episode = made.tasks.test(jax.random.key(0))
    meta = jax.jit(made.learner.init)(jax.random.key(1), episode)
    moved = [
        float(jax.jit(lambda m, e, k, f=f: train.query_dependence(f, m, e, k))(
            meta, episode, jax.random.key(2)
        ))
        for f in (made.learner, made.tester)
    ]  # fmt: skip
    assert moved[0] < 1e-5 and moved[1] > 1e-3


@pytest.mark.parametrize("learner", EMBEDDINGS)
def test_the_embedding_is_the_network_in_the_learner(learner):
    """Wherever a learner keeps the network, it is found: the features are its own."""

    def network(outputs):
        return models.mlp(outputs, hidden=(4,))

    side = Side(3, 6)
    room = Room(network, side, side, criteria.classification, 100)
    method = table()[learner](room)
    assert method.embedding is not None
    episode = probe(ways=3, shots=2, queries=2)(jax.random.key(0))
    meta = method.learner.init(jax.random.key(1), episode)
    model, where, _ = method.embedding
    fresh = model.init(jax.random.key(1), episode.support.inputs)
    assert jax.tree.structure(where(meta)) == jax.tree.structure(fresh)
    features, _ = model.apply(where(meta), episode.query.inputs)
    assert features.shape == (6, 4) and np.isfinite(features).all()


@pytest.mark.parametrize("learner", ["maml", "relation_network", "mann"])
def test_a_learner_without_features_is_refused(learner):
    with pytest.raises(
        ConfigError, match="test_time: got tim, wants nothing: it is for"
    ):
        make(known()["few-shot"], TINY | {"learner": learner, "test_time": "tim"})
