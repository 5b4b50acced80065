"""How many tasks run side by side, by platform and size."""

import jax
import jax.numpy as jnp
import pytest

from jaxmeta import Batch, Episode
from jaxmeta.train import policy


def episodes(tasks, *shape):
    inputs = jax.ShapeDtypeStruct((tasks, 1, *shape), "float32")
    return Episode(*(Batch(inputs, None),) * 2)


@pytest.mark.parametrize(
    ("platform", "tasks", "shape", "wanted"),
    [
        ("cpu", 32, (1,), 32),
        ("cpu", 32, (28, 28, 4), 1),
        ("gpu", 32, (28, 28, 4), 32),
        ("gpu", 96, (1024, 1024, 1), 8),  # two of 2^20 values a task
        ("gpu", 90, (1024, 1024, 1), 6),  # a divisor
        ("gpu", 7, (8192, 8192, 1), 1),  # one that is too large for the rule
    ],
)
def test_side_by_side(platform, tasks, shape, wanted):
    assert policy.task_chunk(episodes(tasks, *shape), platform) == wanted


@pytest.mark.parametrize(("platform", "wanted"), [("cpu", 1), ("cuda", 8), ("tpu", 8)])
def test_the_platform_lowered_for_decides(monkeypatch, platform, wanted):
    """Not the machine that traces, which here is always a CPU."""
    monkeypatch.setattr(policy, "CPU_TASK_ELEMENTS", 0)

    def run(size, x):
        return x.reshape(8 // size, size).sum(0).sum()

    program = jax.jit(lambda x: policy.in_chunks(run, episodes(8, 2), x))
    traced = program.trace(jax.ShapeDtypeStruct((8,), jnp.float32))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    for size in (1, 8):
        assert (f"tensor<{8 // size}x{size}xf32>" in text) == (size == wanted)
