"""Tasks that a support set leaves open, and tasks with few labels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from jaxmeta.core import Batch, Episode

KEY = jax.random.key(0)


def test_sines_and_lines_in_equal_parts():
    keys = jax.random.split(KEY, 2000)
    task = jm.tasks.sine_or_line(shots=20, queries=1, noise=0.0)
    support = jax.jit(jax.vmap(task))(keys).support
    x, y = support.inputs, support.targets

    def left_over(features):
        """Squared error of the best fit of each task by the features."""
        f = features(np.asarray(x, np.float64)[..., 0])
        fit = np.einsum(
            "tij,tj->ti", f, np.einsum("tji,ti->tj", np.linalg.pinv(f), y[..., 0])
        )
        return ((fit - y[..., 0]) ** 2).mean(-1)

    line = left_over(lambda x: np.stack([x, np.ones_like(x)], -1)) < 1e-8
    sine = left_over(lambda x: np.stack([np.sin(x), np.cos(x)], -1)) < 1e-8
    assert (line ^ sine).all()
    assert abs(line.mean() - 0.5) < 4 * 0.5 / np.sqrt(2000)


def test_noise_has_its_deviation():
    keys = jax.random.split(KEY, 3000)

    def draw(noise):
        return jax.vmap(jm.tasks.sine_or_line(5, 5, noise=noise))(keys).query.targets

    error = np.asarray(draw(0.3) - draw(0.0))
    np.testing.assert_allclose(error.std(), 0.3, rtol=0.02)
    with pytest.raises(ValueError, match="noise: got -1"):
        jm.tasks.sine_or_line(noise=-1.0)


def four_ways(key):
    """Vectors of class number and example number."""
    del key

    def batch(each):
        rows = [[[c, i]] for c in range(4) for i in range(each)]
        inputs = jnp.array(rows, "float32").reshape(-1, 2)
        return Batch(inputs, jnp.repeat(jnp.eye(4), each, axis=0))

    return Episode(batch(3), batch(2))


def test_ambiguous_pairs():
    task = jm.tasks.ambiguous(four_ways)
    rules = set()
    for i in range(8):
        support, query = task(jax.random.key(i))
        # both halves explain the support labels
        left, right = support.inputs[:, 0], support.inputs[:, 2]
        np.testing.assert_array_equal(support.targets[:, 1], left)
        np.testing.assert_array_equal(support.targets[:, 1], right - 2)
        by_left = query.inputs[:, 0]
        by_right = query.inputs[:, 2] - 2
        same = by_left == by_right
        assert same.sum() == 4 and (~same).sum() == 4
        label = query.targets[:, 1]
        np.testing.assert_array_equal(label[same], by_left[same])
        rules.add("left" if (label == by_left).all() else "right")
        assert (label == by_left).all() or (label == by_right).all()
    assert rules == {"left", "right"}
    with pytest.raises(ValueError, match="task: got 5 ways"):
        jm.tasks.ambiguous(jm.tasks.glyphs(5, 1, 1, size=8))(KEY)


def test_ambiguous_images_lie_side_by_side():
    task = jm.tasks.ambiguous(jm.tasks.glyphs(4, 1, 2, size=8))
    episode = jax.jit(lambda task, key: task(key))(task, KEY)
    assert episode.support.inputs.shape == (2, 8, 16, 1)
    assert episode.query.inputs.shape == (8, 8, 16, 1)


PLAIN = {
    "ambiguous": jm.tasks.ambiguous(four_ways),
    "ambiguous of a lambda": jm.tasks.ambiguous(lambda key: four_ways(key)),
    "semi_supervised": jm.tasks.semi_supervised(four_ways, 1, 2, labelled_tasks=0.5),
    "augmented": jm.tasks.augmented(four_ways, lambda key, x: x),
    "padded": jm.tasks.padded(four_ways, support=20),
    "varying": jm.tasks.varying(four_ways, support=(1, 5)),
    "mixture": jm.tasks.mixture([four_ways, four_ways]),
    "all of them": jm.tasks.semi_supervised(
        jm.tasks.ambiguous(jm.tasks.mixture([four_ways])), 1, 2
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_function_is_a_task(name):
    """As an argument of a jitted function, as the trainer and `evaluate` pass it."""
    found = jax.eval_shape(jax.jit(lambda task, key: task(key)), PLAIN[name], KEY)
    assert isinstance(found, Episode)


@pytest.mark.parametrize("part", ["support", "query"])
def test_rows_that_lie_otherwise_are_refused(part):
    def with_part(change, key):
        episode = four_ways(key)
        return episode._replace(**{part: change(getattr(episode, part))})

    def seven(batch):
        return jax.tree.map(lambda x: x[:7], batch)

    def weighted(batch):
        return batch._replace(weights=jnp.ones(len(batch.targets)))

    for change, message in (
        (seven, r"targets \[7, 4\], wants \[ways \* m, ways\], class by class"),
        (weighted, "got examples with weights, wants a task without padding"),
    ):
        task = functools.partial(with_part, change)
        for wrapped in (
            jm.tasks.ambiguous(task),
            jm.tasks.semi_supervised(task, 1, 1),
        ):
            with pytest.raises(ValueError, match=message):
                wrapped(KEY)


def test_semi_supervised_keeps_the_first_of_each_class():
    episode = jm.tasks.semi_supervised(four_ways, 1, 2)(KEY)
    few, rest = episode.support.inputs
    np.testing.assert_array_equal(few, [[c, 0] for c in range(4)])
    np.testing.assert_array_equal(rest, [[c, i] for c in range(4) for i in (1, 2)])
    np.testing.assert_array_equal(episode.support.targets, np.eye(4))
    assert episode.query.inputs.unlabelled.shape == (0, 2)


def test_some_tasks_have_labels():
    task = jm.tasks.semi_supervised(four_ways, 1, 2, labelled_tasks=0.25)
    episodes = jax.vmap(task)(jax.random.split(KEY, 1000))
    labelled = episodes.support.weights.sum(1)
    assert set(np.unique(labelled)) == {0.0, 4.0}
    assert abs((labelled > 0).mean() - 0.25) < 4 * np.sqrt(0.1875 / 1000)
    np.testing.assert_array_equal(labelled > 0, episodes.query.weights.all(1))
    np.testing.assert_array_equal(episodes.support.targets, [np.eye(4)] * 1000)
    assert episodes.support.inputs.unlabelled.shape == (1000, 12, 2)
    with pytest.raises(ValueError, match="shots: got 4"):
        jm.tasks.semi_supervised(four_ways, 4, 2)(KEY)
    with pytest.raises(ValueError, match="labelled_tasks: got 2"):
        jm.tasks.semi_supervised(four_ways, 1, 1, labelled_tasks=2)
