"""Six classic mistakes in a meta-gradient, made on purpose: the suite sees each.

The checks are those the suite uses: the reference values of tests/reference and
`check_grads` with its float64 defaults. A finite difference sees a gradient that does
not belong to its loss; only a reference value sees a wrong loss.
"""

import functools
import importlib

import jax
import optax
import pytest
from jax import lax
from jax.test_util import check_grads

import jaxmeta as jm
import jaxmeta.learners.common as learners
from tests.reference.test_reference import PROBLEMS, build, check, episode_of, solve

inner_loop = importlib.import_module("jaxmeta.functional.unroll")  # not its function

pytestmark = pytest.mark.usefixtures("x64")


def stop_gradient(patch):
    real = inner_loop._inner_gradient

    def mutant(*args):
        gradient = real(*args)
        return lambda phi, k: lax.stop_gradient(gradient(phi, k))

    patch.setattr(inner_loop, "_inner_gradient", mutant)
    return jm.maml


def dropped_last_step(patch):
    def mutant(*args, steps, **options):
        return inner_loop.unroll(*args, steps=steps - 1, **options)

    patch.setattr(learners, "unroll", mutant)
    return jm.maml


def sign_of_the_rate(patch):
    def mutant(loss, params, tx, batch, **options):
        backwards = optax.chain(tx, optax.scale(-1.0))
        return inner_loop.unroll(loss, params, backwards, batch, **options)

    patch.setattr(learners, "unroll", mutant)
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
    maml = functools.partial(make(monkeypatch), memory="mixed")

    def reference():
        check(problem, solve(problem, maml=maml))

    def finite_differences():
        learner, episode = build(problem, maml=maml), episode_of(problem)
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
