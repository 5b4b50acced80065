"""Six classic mistakes in a meta-gradient, made on purpose: the suite sees each.

The checks are those the suite uses: the reference values of tests/reference and
`check_grads` with its float64 defaults. A finite difference sees a gradient that does
not belong to its loss; only a reference value sees a wrong loss.
"""

import sys

import jax
import optax
import pytest
from jax import lax
from jax.test_util import check_grads

import jaxmeta as jm
import jaxmeta.learners.inner_loop as learners
from jaxmeta.gradients import argmin
from tests.reference.test_reference import PROBLEMS, build, check, episode_of, solve

pytestmark = pytest.mark.usefixtures("x64")

# the room has a function of that name, too
inner_loop = sys.modules["jaxmeta.gradients.unrolled"]


def stop_gradient(patch):
    real = inner_loop.inner_gradient

    def mutant(*args):
        gradient = real(*args)
        return lambda phi, k: lax.stop_gradient(gradient(phi, k))

    patch.setattr(inner_loop, "inner_gradient", mutant)
    return jm.maml


def dropped_last_step(patch):
    def mutant(*args, steps, **options):
        return argmin(*args, steps=steps - 1, **options)

    patch.setattr(learners, "argmin", mutant)
    return jm.maml


def sign_of_the_rate(patch):
    def mutant(loss, params, hypers, solver, **options):
        backwards = lambda h: optax.chain(solver(h), optax.scale(-1.0))  # noqa: E731
        return argmin(loss, params, hypers, backwards, **options)

    patch.setattr(learners, "argmin", mutant)
    return jm.maml


def swapped_support_and_query(patch):
    def mutant(*args, **options):
        learner = jm.maml(*args, **options)

        def loss(meta, episode, key):
            return learner.loss(meta, jm.Episode(*episode[::-1]), key)

        return learner._replace(loss=loss)

    return mutant


def one_in_ten_thousand(patch):
    def mutant(*args, **options):
        learner = jm.maml(*args, **options)

        def loss(meta, episode, key):
            value, aux = learner.loss(meta, episode, key)
            return value + 1e-4 * (value - lax.stop_gradient(value)), aux

        return learner._replace(loss=loss)

    return mutant


def missing_cross_term(patch):
    """Mixed mode that forgets d/dx <grad_w L, c>: right where all parameters adapt."""
    real = inner_loop.mixed_value_and_grad

    def mutant(loss):
        right = real(loss)

        @jax.custom_vjp
        def run(params, rest):
            return right(params, rest)

        def forward(params, rest):
            return jax.vjp(right, params, rest)

        def backward(pull, cotangent):
            in_params, in_rest = pull(cotangent)
            zero = lambda x: x if x.dtype == jax.dtypes.float0 else 0 * x  # noqa: E731
            return in_params, jax.tree.map(zero, in_rest)

        run.defvjp(forward, backward)
        return run

    patch.setattr(inner_loop, "mixed_value_and_grad", mutant)
    return jm.maml


# the mutant, the problem, and whether a finite difference sees it
MUTANTS = {
    "none": (lambda patch: jm.maml, "anil-tanh-net", None),
    "stop_gradient": (stop_gradient, "maml-tanh-net", True),
    "dropped_last_step": (dropped_last_step, "maml-tanh-net", False),
    "swapped_support_and_query": (swapped_support_and_query, "maml-tanh-net", False),
    "sign_of_the_rate": (sign_of_the_rate, "maml-tanh-net", False),
    "one_in_ten_thousand": (one_in_ten_thousand, "maml-tanh-net", True),
    "missing_cross_term": (missing_cross_term, "anil-tanh-net", True),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant(name, monkeypatch):
    make, problem, inconsistent = MUTANTS[name]
    problem = PROBLEMS[problem]
    how = dict(maml=make(monkeypatch), memory="mixed")

    def reference():
        check(problem, solve(problem, **how))

    def finite_differences():
        learner, episode = build(problem, **how), episode_of(problem)
        params = learner.init(jax.random.key(0), episode).params

        @jax.jit
        def value(params):
            return learner.loss(jm.Meta(params), episode, jax.random.key(0))[0]

        check_grads(value, (params,), order=1, modes=["rev"])

    if inconsistent is None:
        reference()
        finite_differences()
        return
    with pytest.raises(AssertionError):
        reference()
    if inconsistent:
        with pytest.raises(AssertionError):
            finite_differences()
