"""Every recipe builds; a preset says what it changes and keeps the rest."""

import pytest
from PIL import Image

from jaxmeta.runs import ConfigError, Settings, use
from jaxmeta.runs.job import build
from jaxmeta.runs.making import make, without_data
from jaxmeta.runs.registry import RECIPES, known, preset


def pictures(root):
    """What the recipe that has no shapes without its data is given."""
    for kind in ("source", "target"):
        for name in ("a", "b"):
            folder = root / kind / name
            folder.mkdir(parents=True)
            for i in range(12):  # one in ten is held out, an episode takes two
                Image.new("L", (16, 16), i).save(folder / f"{i}.png")
    return {"source": str(root / "source"), "target": str(root / "target"), "size": 16}


def needed(name, root):
    """Options of recipes that cannot do without."""
    if name == "domains":
        return pictures(root)
    if name == "folder-fine_tune":
        return {"data": pictures(root)["source"], "size": 16, "queries": 1}
    return {"network": "conv4"} if name.startswith("folder-pmf") else {}


FEW_SHOT = "jaxmeta.recipes.few_shot:few_shot"


@pytest.mark.parametrize("name", known())
def test_every_recipe_builds(name, tmp_path):
    """Shapes fit from the data to the outer step and the test; nothing is compiled."""
    with without_data():
        made = make(known()[name], needed(name, tmp_path))
        job = build(made, Settings())
    assert job.experiment.title and made.recipe.summary
    assert not set(made.experiment.facts) & {"accuracy", "mse"}


@pytest.fixture
def registry(monkeypatch):
    """The recipes, for a test that adds some."""
    known()
    copy = dict(RECIPES)
    yield RECIPES
    RECIPES.clear()
    RECIPES.update(copy)


def test_a_preset_of_a_preset_keeps_what_it_does_not_say(registry):
    first = preset(
        "first", FEW_SHOT, "one", settings={"episodes": 7, "chunk": 3},
        network=use("mlp", hidden=(8,)), sampler=use("fixed", ways=2, shots=3), steps=9,
    )  # fmt: skip
    second = preset(
        "second", first, "two", settings={"chunk": 4}, sampler=use("fixed", shots=2)
    )
    options = make(second, {}).options
    kept = {k: options[k] for k in ("network", "hidden", "ways", "shots", "steps")}
    assert kept == {"network": "mlp", "hidden": [8], "ways": 2, "shots": 2, "steps": 9}
    assert second(ways=3).defaults == {"episodes": 7, "chunk": 4}
    assert make(first, {}).options["shots"] == 3


def test_another_part_brings_no_options_of_the_one_before(registry):
    first = preset("first", FEW_SHOT, "one", learner=use("maml", inner_steps=3))
    second = preset("second", first, "two", learner=use("protonet"))
    assert "inner_steps" not in make(second, {}).options


def test_settings_of_the_user_win_over_those_of_the_recipe():
    said = Settings(episodes=5).filled({"episodes": 1000, "chunk": 500})
    assert (said.episodes, said.chunk, said.validate_episodes) == (5, 500, 200)
    usual = Settings().filled({})
    assert (usual.episodes, usual.chunk, usual.validate_every) == (600, 25, None)
    assert usual.filled({"chunk": 7}) == usual  # what a run folder keeps is final


def test_a_recipe_suggests_no_seed():
    with pytest.raises(ConfigError, match="defaults: got 'seed'"):
        Settings().filled({"seed": 1})


def test_a_long_schedule_differs_in_what_it_says():
    short, long = (known()[f"omniglot-mann-5w1s{s}"] for s in ("", "-full"))
    with without_data():
        before, after = make(short, {}).options, make(long, {}).options
    changed = {k for k in after if after[k] != before[k]}
    assert changed == {"queries", "steps"}
    assert long.settings == short.settings
