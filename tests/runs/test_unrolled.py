"""Every gradient-based learner of the command line can be built from its recipe."""

import dataclasses

import jax
import pytest
from jaxmeta.runs.build import abstract_state, build, make_tester
from jaxmeta.runs.unrolled import UNROLLED, make_inner

from jaxmeta import train
from jaxmeta.runs import RECIPES

KEY = jax.random.key(0)


def drawn(name):
    """The Omniglot recipe of a learner, on small drawn glyphs instead."""
    recipe = RECIPES[f"omniglot-{name}-5w1s"]
    return dataclasses.replace(
        recipe, dataset="glyphs", rotations=False, filters=4, tasks=2, ways=2
    )


RUNS = [RECIPES[f"sinusoid-{name}"] for name in UNROLLED if name != "proto_maml"]
RUNS += [drawn(name) for name in (*UNROLLED, "reptile", "lstm_meta_learner")]
RUNS += [RECIPES[f"sinusoid-{name}"] for name in ("reptile", "lstm_meta_learner")]


@pytest.mark.parametrize("recipe", RUNS, ids=lambda r: r.name)
def test_recipe_builds_and_tests_with_any_number_of_steps(recipe):
    job = build(recipe)
    state = abstract_state(job)
    for steps in (0, recipe.inner_steps + 1):
        tester = make_tester(recipe, steps)
        jax.eval_shape(
            lambda meta, tester=tester: train.predictions(
                tester, meta, job.tasks.test(KEY), KEY
            ),
            state.meta,
        )


def test_an_inner_adam_is_differentiable_where_it_is_differentiated():
    recipe = dataclasses.replace(RECIPES["sinusoid-maml"], inner="adam")
    build(recipe)
    grads = jax.numpy.zeros(2)
    for learner, floor in (("reptile", 0.0), ("maml", 1e-8)):
        tx = make_inner(dataclasses.replace(recipe, learner=learner, inner_rate=1.0))
        slope = jax.jacobian(lambda g: tx.update(g, tx.init(g))[0])(grads)  # noqa: B023
        assert jax.numpy.isfinite(slope).all() == (floor > 0)
