"""XLA for CPUs ends the process on a padded product: ours to keep from users.

What an upstream report should say.

Program: `UPSTREAM` below. A segmentation fault (exit status -11), forward only, without
vmap or a gradient; `labels @ means` gives 25 rows, which padding makes 50.

Cause: on CPUs, XLA hands reductions together with what follows and precedes them to
YNNPACK, as one fusion of the kind "__ynn_fusion". Where such a fusion holds a product
(`dot`), padding of its rows (`pad`), a broadcast, a multiplication and a reduction, the
product is evaluated inside the loop over the padded rows as well, and writes outside its
buffer. It takes enough padding, before or after the rows: 1 row of 26 lived, 25 of 50
did not. With one reduction, broadcast or multiplication less it is not the same loop, and
it lives.

    #0  ynn::dot_fp32_1x64x1_1x16x1_avx512   vmovups %zmm2,(%rdx)
    #1  ynn::run_dot<...make_dot_impl...>
    #6  slinky::evaluator::eval(slinky::make_buffer const*)
    #14 slinky::evaluator::eval_loop_serial
    #26 ynn_invoke_runtime
    #27 xla::cpu::YnnFusionThunk::YnnExecutable::Invoke

Where: jaxlib 0.10.2 (Python 3.11 and 3.13), 0.11.2, 0.12.0 and 0.12.0.1, on x86-64 (AMD
EPYC, family 25, model 17, with AVX-512). 0.4.38 to 0.10.0 make no such fusion; 0.10.1,
0.11.0 and 0.11.1 make it and lived at these sizes. `--xla_cpu_max_isa=AVX2` dies too, and
so do `--xla_backend_optimization_level=0` and `--xla_disable_hlo_passes=fusion`.

Goes away by XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= (empty: no such fusions).
`lax.optimization_barrier` between product and padding does nothing: XLA for CPUs drops
barriers before it makes these fusions.

How learners met it: features of support and query, encoded at once, were cut apart by
slices. The derivative of a slice is padding, that of the class means is a product, and
that of an encoder that sums over words is a broadcast, a multiplication and a reduction.
Now `functional.rows.parted` cuts them apart: the derivative of a split is a
concatenation, which is in no such fusion. What is left to users who slice in a network
or a loss of their own is the flag above.
"""

import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxmeta.functional.rows import parted
from tests.learners.episodes_of_tokens import LEARNERS, suspect

pytestmark = pytest.mark.optimised  # it takes the fusions of a user's program

UPSTREAM = """
import jax, jax.numpy as jnp

@jax.jit
def f(labels, means, seen):
    rows = jnp.pad(labels @ means, ((0, 0), (0, 25), (0, 0)))
    return (rows[:, :, None] * seen).sum(2)

ones = f(jnp.ones((4, 25, 5)), jnp.ones((4, 5, 32)), jnp.ones((4, 50, 32, 32)))
print(float(ones.sum()))
"""

# learner, encoder, tasks, width, length: the crash had been seen at 4 32 32 and 2 100 8;
# one of each way through `parted`, and of each kind of encoder that matters; FULL has all
QUICK = [
    ("protonet", "attention", 4, 32, 32),
    ("protonet", "sum", 2, 100, 8),
    ("relation_network", "sum", 4, 32, 32),
    ("r2d2", "sum", 4, 32, 32),
    ("meta_transfer", "sum", 4, 32, 32),
]
ENCODERS = ("sum", "mean", "where", "attention", "frozen")
SIZES = ((32, 32), (100, 8), (16, 64))
SOME = ((4, 32, 32), (2, 100, 8), (8, 16, 64), (25, 32, 32), (1, 100, 8))
FULL = [
    *[
        ("protonet", kind, tasks, *size)
        for kind in ENCODERS
        for tasks in (1, 2, 4, 8, 25)
        for size in SIZES
    ],
    *[
        (name, kind, *some)
        for name in LEARNERS
        if name not in ("protonet", "meta_gan", "cnp")
        for kind, some in zip(ENCODERS, SOME, strict=True)
    ],
    # these take vectors, not tokens
    *[
        (name, "counts", tasks, 32, 32)
        for name in ("meta_gan", "cnp")
        for tasks in (2, 8)
    ],
]


def child(*arguments):
    """`(exit status, lines)` of a fresh Python: one that dies takes no test with it."""
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=os.environ
    )
    return done.returncode, done.stdout.strip(), done.stderr[-2000:]


def lives(cases):
    words = [str(word) for case in cases for word in case]
    status, said, error = child("-m", "tests.learners.episodes_of_tokens", *words)
    *ran, last = said.split("\n")
    assert (status, last) == (0, "end"), f"{status} in{last or ran}: {error}"
    assert len(ran) == 2 * len(cases)
    for line in ran:
        assert line.endswith("lived"), line  # finite, no suspect fusion


def test_learners_on_tokens_live():
    """Loss and gradient of several tasks at once, through vmap and through episodic."""
    lives(QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_learners_on_tokens_live_in_all_sizes(name):
    lives([case for case in FULL if case[0] == name])


def test_the_bug_is_still_there(record_property):
    """Should this be skipped, `parted` may be two slices again."""
    status, said, error = child("-c", UPSTREAM)
    record_property("xla_cpu_crash", status)
    if status == 0:
        pytest.skip(f"jaxlib {jax.lib.__version__} lives, and finds {said} (512000)")
    assert status == -signal.SIGSEGV, error


def test_parted_is_two_slices(x64):
    """Its values, its derivatives of both orders and both kinds, one task or several."""
    x = jax.random.normal(jax.random.key(0), (7, 3))
    weights = jnp.arange(1.0, 22.0).reshape(7, 3)

    def loss(part):
        def value(x):
            a, b = part(jnp.tanh(x) * weights, 3)
            return jnp.sum(jnp.square(b[:, None] - a)) + jnp.sum(a**3)

        return value

    def found(part):
        f = loss(part)
        grad = jax.grad(f)
        return (
            f(x),
            grad(x),
            jax.jvp(f, (x,), (weights,))[1],
            jax.jvp(grad, (x,), (weights,))[1],
            jax.grad(lambda x: jnp.sum(grad(x) ** 3))(x),
            jax.vmap(grad)(jnp.stack([x, 2 * x])),
        )

    ours, slices = jax.jit(
        lambda: (found(parted), found(lambda x, n: (x[:n], x[n:])))
    )()
    for a, b in zip(ours, slices, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("still", ["neither", "support", "query"])
def test_no_product_is_padded(still):
    """Nor where one part has no derivative, which alone XLA would turn to padding."""
    seen = jnp.ones((4, 50, 32, 32))
    labels = jnp.ones((4, 25, 5))

    def loss(scale, seen, labels):
        support, query = parted((seen * scale[:, None]).sum(1), 25)
        if still == "support":
            support = lax.stop_gradient(support)
        if still == "query":
            query = lax.stop_gradient(query)
        means = labels.T @ support
        return (labels * jax.nn.log_softmax(query @ means.T)).sum()

    of_tasks = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))
    program = of_tasks.lower(jnp.ones(32), seen, labels).compile().as_text()
    assert suspect(program) == []
