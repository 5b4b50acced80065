"""Recipes from options to result.json: a learner of each family, two steps."""

import json

import jax
import numpy as np
import pytest

from jaxmeta.core import Features, MetaLearner
from jaxmeta.learners import LEARNERS
from jaxmeta.learners.protonet import protonet
from jaxmeta.runs import load, train
from jaxmeta.runs.making import make
from jaxmeta.runs.registry import known

RUN = {"validate_every": 0, "episodes": 4, "say": lambda line: None}
CLASSES = {"network": "mlp", "hidden": (8,), "size": 8, "ways": 2, "queries": 2}
CURVES = {"hidden": (8,), "shots": 3, "queries": 3}
FAMILIES = {
    "gradient": ("few-shot", CLASSES | {"learner": "maml_plus_plus", "inner_steps": 2}),
    "stream": ("few-shot", CLASSES | {"learner": "anml", "inner_rate": 0.1}),
    "metric": ("few-shot", CLASSES | {"learner": "relation_network"}),
    "memory": ("few-shot", CLASSES | {"learner": "mann", "learner_hidden": 8}),
    "adversarial": ("few-shot", CLASSES | {"learner": "meta_gan", "generator": (4, 2)}),
    "probabilistic": (
        "regression",
        CURVES | {"learner": "cnp", "task": "gaussian_process"},
    ),
    "learned optimiser": (
        "regression",
        CURVES | {"learner": "lstm_meta_learner", "inner_steps": 1},
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_learner_of_each_family_trains(family, tmp_path):
    name, options = FAMILIES[family]
    options = options | {"steps": 2, "batch": 2}
    out = train(known()[name], out=tmp_path / "run", options=options, **RUN)
    result = json.loads((out / "result.json").read_text())
    assert result["learner"] == options["learner"] and result["steps"] == 2
    assert np.isfinite(result[result["metric"]]) and result["episodes"] == 4
    if family == "memory":  # its own measure: examples of a class in a sequence
        assert len(result["instances"]) == 3
        assert all(0 <= x <= 1 for x in result["instances"])
    if family == "probabilistic":  # beside exact inference, on the same episodes
        behind = result["exact_log_likelihood"] - result["log_likelihood"]
        assert abs(result["behind_exact"] - behind) < 1e-5 and behind > 0
        assert "Beside exact inference" in (out / "report.html").read_text()


def test_the_run_keeps_the_settings_that_its_recipe_suggests(tmp_path):
    options = {"hidden": (4,), "steps": 2, "batch": 2}
    recipe = known()["sinusoid-maml"]
    out = train(recipe, out=tmp_path / "run", options=options, **RUN)
    kept = json.loads((out / "config.json").read_text())["settings"]
    assert (kept["episodes"], kept["chunk"], kept["validate_episodes"]) == (4, 500, 200)
    lines = []
    train(recipe, out=out, options=options, **RUN | {"say": lines.append})
    assert "finished already" in lines[0]  # the same run, though nothing was filled in


def test_a_learner_of_ones_own_trains_and_its_network_is_handed_on(
    monkeypatch, tmp_path
):
    def sharp(model: Features, *, sharpness: float = 2.0) -> MetaLearner:
        """Prototypes, sharply."""
        return protonet(model, temperature=1 / sharpness)

    monkeypatch.setitem(LEARNERS, "sharp", sharp)
    recipe = known()["few-shot"]
    options = CLASSES | {"steps": 2, "batch": 2}
    own = options | {"learner": "sharp", "sharpness": 3.0}
    out = train(recipe, out=tmp_path / "run", options=own, **RUN)
    config = json.loads((out / "config.json").read_text())
    assert config["options"]["sharpness"] == 3.0

    mtl = {"learner": "meta_transfer", "inner_steps": 1, "pretrained": str(out)}
    experiment = make(recipe, options | mtl).experiment
    episode = experiment.tasks.train(jax.random.key(0))
    meta = experiment.learner.init(jax.random.key(1), episode)
    trained = jax.tree.leaves(load(out).meta.params)
    frozen = jax.tree.leaves(meta.buffers)
    assert all(any(np.array_equal(a, b) for b in frozen) for a in trained)
