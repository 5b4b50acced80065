"""Classes one after another, small: benchmarks/continual.py in seconds."""

import jax
import numpy as np
import optax
import pytest

import jaxmeta as jm
from benchmarks import continual
from benchmarks.continual import Row, features, judged, oml_once, trained

SMALL = Row(
    filters=8, blocks=2, ways=4, shots=3, queries=3, classes=(2, 6), seen=4, held=4,
    streams=6, rates=(0.02, 0.06, 0.2), steps=(80, 80, 80, 80), batch=8, rate=1e-2,
    inner=(0.1, 0.1, 0.1),
)  # fmt: skip


@pytest.fixture(scope="module")
def data():
    """Classes differ by where a spot is; brighter stripes say nothing."""
    draw = np.random.default_rng(0)

    def part(count, start):
        images = draw.integers(0, 60, (count * 8, 8, 8, 1))
        images[np.arange(count * 8), draw.integers(0, 8, count * 8)] += 120
        for c in range(count):
            row, column = divmod(5 * (start + c) % 36, 6)
            images[c * 8 : c * 8 + 8, row : row + 3, column : column + 3] += 60
        names = tuple(f"c{start + i}" for i in range(count))
        return jm.data.from_counts(images.astype(np.uint8), [8] * count, names)

    return jm.data.make_splits(part(24, 0), part(6, 24), part(6, 30))


def test_an_episode_embedded_once_is_the_same_stream(data):
    body, inner = features("oml", SMALL), optax.sgd(0.1)
    net = jm.models.with_head(body, jm.models.linear_head(4))
    episode = jm.tasks.few_shot(data.train, 4, 3, 3)(jax.random.key(0))
    meta = jm.oml(net, inner).init(jax.random.key(1), episode)

    def slope(learner):
        def loss(params):
            now = meta._replace(params=params)
            return learner.loss(now, episode, jax.random.key(2))[0]

        return jax.jit(jax.value_and_grad(loss))(meta.params)

    once, by_rows = slope(oml_once(body, 4, inner)), slope(jm.oml(net, inner))
    for a, b in zip(jax.tree.leaves(once), jax.tree.leaves(by_rows), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_training_on_streams_helps_on_new_ones(data):
    meta, took = trained("oml", data, SMALL, seed=0)
    found = judged("oml", meta, data, SMALL, False, seed=0)
    start = continual.objective("oml", data, SMALL)[0]
    episode = jm.tasks.few_shot(data.train, 4, 3, 3)
    untrained = start.init(
        jax.random.key(0), jm.train.sample_batch(episode, jax.random.key(0), 2)
    )
    bare = jm.models.heads.split_head(untrained)[0]
    before = judged("oml", bare, data, SMALL, False, seed=0)
    assert took["outer_steps"] == 80 and len(found["accuracy"]) == 2
    assert found["accuracy"][1] > before["accuracy"][1] + 0.1
    assert found["accuracy"][1] > 1 / 3  # chance is a sixth, the last class alone too
