"""Recipes of the probabilistic learners build, and results say how sure they are."""

import dataclasses

import jax
import pytest
from jaxmeta.runs.build import abstract_state, build, make_outer
from jaxmeta.runs.check import check

from jaxmeta import train
from jaxmeta.runs import RECIPES
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.train import beliefs

KEY = jax.random.key(0)
NAMES = ["platipus", "bmaml", "meta_gan", "meta_gan_relation"]


def drawn(name):
    recipe = RECIPES[f"omniglot-{name}-5w1s"]
    return dataclasses.replace(
        recipe, dataset="glyphs", rotations=False, filters=4, tasks=2, ways=2, queries=1
    )


RUNS = [drawn(name) for name in NAMES]
RUNS += [RECIPES[f"sine_or_line-{name}"] for name in ("maml", "platipus", "bmaml")]
RUNS += [RECIPES[f"sinusoid-{name}"] for name in ("cnp", "attentive_cnp")]


@pytest.mark.parametrize("recipe", RUNS, ids=lambda r: r.name)
def test_recipe_builds_and_believes(recipe):
    job = build(recipe)
    state = abstract_state(job)

    def believe(meta, key):
        episode = job.tasks.test(key)
        fast = job.tester.adapt(meta, episode.support, key)
        belief = job.predictive(meta, fast, episode.query.inputs)
        return train.calibration.statistics(belief, episode)

    silent = recipe.name in ("omniglot-meta_gan_relation-5w1s", "sine_or_line-maml")
    assert (job.predictive is None) == silent
    if not silent:
        found = jax.eval_shape(believe, state.meta, KEY)
        assert ("coverage" in found) == (recipe.dataset != "glyphs")


def test_the_players_have_their_own_rates():
    recipe = dataclasses.replace(
        RECIPES["omniglot-meta_gan-5w1s"],
        rate=0.1,
        generator_rate=0.4,
        schedule="constant",
        clip=None,
    )
    params = {"discriminator": {"w": 1.0}, "generator": {"w": 1.0}}
    tx = make_outer(recipe)
    updates, _ = tx.update(params, tx.init(params), params)
    assert updates["discriminator"]["w"] == pytest.approx(-0.1, rel=1e-4)
    assert updates["generator"]["w"] == pytest.approx(-0.4, rel=1e-4)


def test_a_result_says_how_sure():
    found = train.Evaluation(0.5, 0.1, [1.0], "mse", 2, False)
    assert beliefs(found) == {}
    found = found._replace(nll=1.0, nlls=[0.5, 1.5], entropy=0.9, ece=0.1)
    assert set(beliefs(found)) == {
        "nll",
        "nll_ci95",
        "log_likelihood",
        "entropy",
        "ece",
    }


@pytest.mark.parametrize(
    ("field", "value"), [("noise", 0.0), ("samples", 0), ("lam_gan", -1.0)]
)
def test_bad_fields_are_named(field, value):
    with pytest.raises(ConfigError, match=field):
        check(dataclasses.replace(RECIPES["sine_or_line-platipus"], **{field: value}))
