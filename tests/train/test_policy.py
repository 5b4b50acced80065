"""How many tasks run side by side, by platform and size."""

import jax
import pytest

from jaxmeta import Batch, Episode
from jaxmeta.train import policy


def episodes(tasks, *shape):
    inputs = jax.ShapeDtypeStruct((tasks, 1, *shape), "float32")
    return Episode(*(Batch(inputs, None),) * 2)


@pytest.mark.parametrize(
    ("backend", "tasks", "shape", "wanted"),
    [
        ("cpu", 32, (1,), 32),
        ("cpu", 32, (28, 28, 4), 1),
        ("gpu", 32, (28, 28, 4), 32),
        ("gpu", 96, (1024, 1024, 1), 8),  # two of 2^20 values a task
        ("gpu", 90, (1024, 1024, 1), 6),  # a divisor
        ("gpu", 7, (8192, 8192, 1), 1),  # one that is too large for the rule
    ],
)
def test_side_by_side(monkeypatch, backend, tasks, shape, wanted):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert policy.task_chunk(episodes(tasks, *shape)) == wanted
