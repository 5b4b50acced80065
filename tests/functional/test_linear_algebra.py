"""Factors and solutions: those of `jax.numpy`, in every mode, one matrix after another."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy import linalg

import jaxmeta as jm
from jaxmeta.functional import linear_algebra as la

TASKS, N = 3, 4


def positive(seed=0):
    x = np.random.default_rng(seed).normal(size=(TASKS, N, N + 2))
    return jnp.asarray(x @ x.swapaxes(1, 2) + np.eye(N))


def general(seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(TASKS, N, N)))


def right(columns, seed=2):
    shape = (TASKS, N, columns) if columns else (TASKS, N)
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def lower(a, b):
    return linalg.solve_triangular(jnp.tril(a), b, lower=True)


CASES = {
    "cholesky": (la.cholesky, jnp.linalg.cholesky, lambda: (positive(),)),
    "solve_lower": (la.solve_lower, lower, lambda: (positive(), right(2))),
    "solve_positive": (
        la.solve_positive,
        lambda a, b: linalg.solve(a, b, assume_a="pos"),
        lambda: (positive(), right(2)),
    ),
    "of a vector": (la.solve_positive, linalg.solve, lambda: (positive(), right(0))),
    "solve": (la.solve, jnp.linalg.solve, lambda: (general(), right(2))),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_of_every_order_are_those_of_jax(name, x64):
    """Over a batch: values, slopes forward, backward, and backward over backward."""
    ours, theirs, given = CASES[name]
    args = given()
    moves = jax.tree.map(lambda x: jnp.cos(7 * x), args)
    if name == "cholesky":  # both take the mean with the transpose, as they like
        moves = jax.tree.map(lambda x: (x + x.swapaxes(1, 2)) / 2, moves)

    def found(f):
        def score(*args):
            return jnp.sum(jnp.sin(jax.vmap(f)(*args)))

        def slope(*args):
            grads = jax.grad(score, range(len(args)))(*args)
            return sum(jnp.vdot(g, m) for g, m in zip(grads, moves, strict=True))

        value, forward = jax.jvp(jax.vmap(f), args, moves)
        second = jax.grad(slope, range(len(args)))(*args)
        second = [jnp.vdot(g, m) for g, m in zip(second, moves, strict=True)]
        return value, forward, slope(*args), second

    a, b = jax.jit(lambda: found(ours))(), jax.jit(lambda: found(theirs))()
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-8, 1e-9), a, b)


def test_what_is_not_positive_definite_is_not_a_number():
    assert jnp.isnan(la.cholesky(-jnp.eye(2))).any()
    assert jnp.isnan(la.solve_positive(-jnp.eye(2), jnp.ones(2))).all()


def batches(f, *args) -> tuple[int, list[str]]:
    """How many calls of LAPACK a CPU's program has, and those of more than one matrix."""
    text = jax.jit(f).trace(*args).lower(lowering_platforms=("cpu",)).as_text()
    calls = re.findall(r"custom_call @lapack_\w+\([^\n]*", text)
    matrix = re.compile(r"tensor<(?:\d+x){3,}f\d+>")
    return len(calls), [call for call in calls if matrix.search(call)]


def test_a_cpu_is_never_given_a_batch_of_matrices():
    """Two such batches at once wait for each other's threads, for ever."""
    for ours, theirs, given in CASES.values():
        count, several = batches(jax.vmap(ours), *given())
        assert count and not several
        assert batches(jax.vmap(theirs), *given())[1]  # what this test would see
    for f in (la.qr, la.svd, lambda x: jm.functional.principal(x)[1]):
        count, several = batches(jax.vmap(f), positive())
        assert count and not several


def _posteriors(keys):
    task = jm.tasks.gaussian_process((2, 5), 3)
    prior = jm.tasks.prior_of(task)

    def one(key):
        support, query = task(key)
        gp = jm.functional.gaussian_process
        return gp.moments(gp.averaged(prior, support, query.inputs, number=4))

    return jax.vmap(one)(keys)


def _heads(make):
    def loss(keys):
        task = jm.testing.probe()
        learner = make(jm.models.mlp(None, hidden=(4,)))
        meta = learner.init(keys[0], task(keys[0]))

        def mean(params):
            def one(key):
                return learner.loss(meta._replace(params=params), task(key), key)[0]

            return jax.vmap(one)(keys).mean()

        return jax.grad(mean)(meta.params)

    return loss


PROGRAMS = {
    "gaussian_process": _posteriors,
    "r2d2": _heads(jm.learners.r2d2),
    "lrd2": _heads(jm.learners.lrd2),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_nor_are_batches_in_programs_over_tasks(name):
    count, several = batches(PROGRAMS[name], jax.random.split(jax.random.key(0), 4))
    assert count and not several


TWO_DEVICES = """
import jax
jax.config.update("jax_num_cpu_devices", 2)
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import jaxmeta as jm
task = jm.tasks.gaussian_process((3, 46), 20)
mesh = jm.train.task_mesh(jax.devices())
@jax.jit
def steps(keys):
    def one(total, t):
        drawn = jax.vmap(lambda k: task(jax.random.fold_in(k, t)).query.targets)(keys)
        return total + jax.lax.psum(drawn.sum(), mesh.axis_names[0]), None
    run = lambda keys: jax.lax.scan(one, jnp.zeros(()), jnp.arange(200))[0]
    return jax.shard_map(run, mesh=mesh, in_specs=P(mesh.axis_names[0]),
                         out_specs=P(), check_vma=False)(keys)
print(float(steps(jax.random.split(jax.random.key(0), 16))))
"""


def test_tasks_are_drawn_on_two_devices_without_waiting_for_ever():
    done = subprocess.run(
        [sys.executable, "-c", TWO_DEVICES], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.isfinite(float(done.stdout))
