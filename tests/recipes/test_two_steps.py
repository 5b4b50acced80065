"""Every recipe takes two outer steps: small nets, small tasks, its own data's shapes.

Compiling is what it costs, some seconds each. So the recipes of learners that no other test
here trains are always run, one a learner, and all others with `-m slow`.
"""

import jax
import numpy as np
import pytest

from jaxmeta import train
from jaxmeta.runs import Settings
from jaxmeta.runs.job import build
from jaxmeta.runs.making import make, options_of, without_data
from jaxmeta.runs.registry import Recipe, known
from jaxmeta.tasks.names import as_partial

from .test_few_shot import FAMILIES
from .test_presets import pictures

SMALL = {
    "batch": 2, "size": 8, "ways": 2, "train_ways": None, "shots": 1, "train_shots": None,
    "queries": 1, "train_queries": None, "inner_steps": 1, "eval_inner_steps": None,
    "hidden": (4,), "words": 22, "plays": 2, "horizon": 3, "pulls": 3, "generator": (4, 2),
    "learner_hidden": 8, "depth": 1, "particles": 2, "samples": 2, "steps": 2,
}  # fmt: skip


COSTLY = {
    "platipus",
    "snail",
    "tnp",
    "conv_cnp",
}  # to compile; other tests train the learners themselves


def small(recipe: Recipe, tmp_path) -> dict:
    """The options of `SMALL` that a recipe has, and of networks the smallest."""
    said = pictures(tmp_path) if recipe.name == "domains" else {}
    if "network" in options_of(recipe, {}, None).options:
        said["network"] = "mlp"
    there = options_of(recipe, said, None).options
    for name in SMALL.keys() & there.keys() - said.keys():
        one = isinstance(there[name].default, int) and name == "hidden"
        said[name] = SMALL[name][0] if one else SMALL[name]
    return said


def learner_of(recipe: Recipe) -> str:
    """What it trains, where a preset says so."""
    return getattr(recipe.defaults.get("learner"), "name", recipe.name)


def rows():
    """One recipe a learner; slow where that has been seen, or is trained elsewhere."""
    seen = {options["learner"] for _, options in FAMILIES.values()} | COSTLY
    elsewhere = ("jaxmeta.recipes.few_shot", "jaxmeta.recipes.regression")
    for name, recipe in known().items():
        learner, of = learner_of(recipe), str(recipe.base).partition(":")[0]
        slow = learner in seen or learner == name or of not in elsewhere
        seen.add(learner)
        yield pytest.param(name, marks=[pytest.mark.slow] if slow else [])


@pytest.mark.parametrize("name", list(rows()))
def test_two_steps(name, tmp_path):
    recipe = known()[name]
    with without_data():
        made = make(recipe, small(recipe, tmp_path))
        job = build(made, Settings(validate_every=0), init=False)

    @jax.jit
    def run(key, task):
        state = job.start(key)
        return train.fit(job.trainer, task, state, key, steps=2, batch=job.batch)

    task = as_partial(job.experiment.tasks.train)
    state, metrics = run(jax.random.key(0), task)
    assert int(state.step) == 2
    assert all(np.isfinite(x).all() for x in map(np.asarray, metrics.values()))
