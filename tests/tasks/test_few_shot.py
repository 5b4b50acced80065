"""Episodes from a data set: disjoint, uniform, reproducible, and never a constant."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from jaxmeta.core import Batch
from jaxmeta.data import from_classes, from_counts
from jaxmeta.tasks import few_shot, glyphs, sinusoid

FALSE_ALARM = 1e-3  # of each chi-squared test, over seeds; the seed is fixed

COUNTS = [6, 9, 7, 30, 6, 12]
OWNER = np.repeat(np.arange(len(COUNTS)), COUNTS)
# Examples are their own row numbers, so that an episode tells what it is made of.
ROWS = from_counts(np.arange(sum(COUNTS))[:, None], COUNTS, tuple("abcdef"))


def images(classes=4, each=3, size=6, seed=0):
    pixels = np.random.default_rng(seed).integers(
        0, 256, (classes * each, size, size, 1), dtype=np.uint8
    )
    return from_counts(pixels, [each] * classes, tuple(map(str, range(classes))))


ROW_TASK = few_shot(ROWS, 4, 2, 4)
SAMPLE = jax.jit(lambda task, key: task(key))
SAMPLE_MANY = jax.jit(lambda task, keys: jax.vmap(task)(keys))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_an_episode_is_well_formed(seed):
    episode = SAMPLE(ROW_TASK, jax.random.key(seed))
    support = np.asarray(episode.support.inputs).reshape(4, 2)
    query = np.asarray(episode.query.inputs).reshape(4, 4)
    rows = np.concatenate([support, query], axis=1)
    assert len(set(rows.ravel().tolist())) == 24, "an example twice"
    owners = OWNER[rows]
    assert (owners == owners[:, :1]).all(), "two classes under one label"
    assert len(set(owners[:, 0].tolist())) == 4, "a class under two labels"
    assert episode.support.targets.dtype == jnp.float32
    for batch, each in (episode.support, 2), (episode.query, 4):
        np.testing.assert_array_equal(batch.targets, np.repeat(np.eye(4), each, axis=0))


def test_classes_and_examples_are_uniform():
    keys = jax.random.split(jax.random.key(7), 6000)
    task = few_shot(ROWS, 2, 1, 1)
    episodes = SAMPLE_MANY(task, keys)
    support = np.asarray(episodes.support.inputs).reshape(-1, 2)
    query = np.asarray(episodes.query.inputs).reshape(-1, 2)

    pairs = OWNER[support] @ [len(COUNTS), 1]
    counts = np.bincount(pairs, minlength=len(COUNTS) ** 2).reshape(len(COUNTS), -1)
    assert (np.diag(counts) == 0).all()
    off_diagonal = counts[~np.eye(len(COUNTS), dtype=bool)]
    assert chisquare(off_diagonal).pvalue > FALSE_ALARM

    # Within a class, every ordered pair of different examples: neighbours, which may be
    # frames of one burst, are no likelier than any other pair.
    for c, n in enumerate(COUNTS):
        mine = OWNER[support[:, 0]] == c
        first, second = support[mine, 0], query[mine, 0]
        start = ROWS.starts[c]
        assert chisquare(np.bincount(first - start, minlength=n)).pvalue > FALSE_ALARM
        steps = (second - first) % n
        assert (steps > 0).all()
        assert chisquare(np.bincount(steps, minlength=n)[1:]).pvalue > FALSE_ALARM


def test_unequal_classes_are_used_to_their_last_example():
    episodes = [SAMPLE(ROW_TASK, jax.random.key(seed)) for seed in range(300)]
    episodes = jax.tree.map(lambda *x: np.stack(x), *episodes)
    seen = np.concatenate([np.ravel(b.inputs) for b in episodes])
    assert set(seen.tolist()) == set(range(sum(COUNTS)))


def test_rotations_are_four_classes_of_each():
    data = images()
    task = few_shot(data, 16, 1, 2, rotations=True)
    episode = SAMPLE(task, jax.random.key(3))
    support = np.asarray(episode.support.inputs).reshape(16, 1, 6, 6, 1)
    query = np.asarray(episode.query.inputs).reshape(16, 2, 6, 6, 1)
    turned = {
        np.rot90(image, k).tobytes(): (row // 3, k)
        for row, image in enumerate(data.inputs)
        for k in range(4)
    }
    drawn = np.rint(255 * np.concatenate([support, query], 1)).astype(np.uint8)
    found = [{turned[image.tobytes()] for image in label} for label in drawn]
    assert all(len(classes) == 1 for classes in found)
    assert len(set.union(*found)) == 16


def test_uint8_becomes_float_after_the_gather_and_others_pass():
    task = few_shot(images(), 2, 1, 1)
    assert jax.tree.leaves(task)[0].dtype == jnp.uint8
    x = SAMPLE(task, jax.random.key(0)).support.inputs
    assert x.dtype == jnp.float32 and x.min() >= 0 and 0.5 < x.max() <= 1
    floats = from_classes(
        {"a": np.ones((3, 5), np.float32), "b": np.zeros((2, 5), "f")}
    )
    x = SAMPLE(few_shot(floats, 2, 1, 1), jax.random.key(0)).support.inputs
    assert x.dtype == jnp.float32 and x.shape == (2, 5)
    normalised = few_shot(floats, 2, 1, 1, normalise=lambda x: 2 * x - 1)
    assert set(np.ravel(SAMPLE(normalised, jax.random.key(0)).query.inputs)) == {-1, 1}


TASKS = {
    "few_shot": few_shot(images(), 3, 1, 2, rotations=True),
    "sinusoid": sinusoid(shots=3, queries=4),
    "glyphs": glyphs(3, 1, 2, size=12),
}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_an_episode_is_a_function_of_its_key(task):
    keys = jax.random.split(jax.random.key(5), 3)
    first, again = SAMPLE(task, keys[0]), SAMPLE(task, keys[0])
    jax.tree.map(np.testing.assert_array_equal, first, again)
    many = jax.tree.map(lambda x: x[0], SAMPLE_MANY(task, keys))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), first, many)
    other = SAMPLE(task, keys[1])
    assert not np.array_equal(first.support.inputs, other.support.inputs)


@pytest.mark.parametrize("name", ["few_shot", "sinusoid"])
def test_jit_changes_nothing(name):
    task, key = TASKS[name], jax.random.key(6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        SAMPLE(task, key),
        task(key),
    )


def test_data_are_an_argument_of_the_compiled_program():
    task = few_shot(images(classes=50, each=20), 5, 1, 1)
    text = jax.jit(lambda t, k: t(k)).lower(task, jax.random.key(0)).as_text()
    sizes = re.findall(r"stablehlo\.constant dense<.*> : tensor<((?:\d+x)*)", text)
    assert sizes
    assert max(np.prod([int(d) for d in s.split("x")[:-1]]) for s in sizes) <= 64
    assert "tensor<1000x6x6x1xui8>" in text


def test_an_equal_task_is_not_compiled_again():
    traces = []

    @jax.jit
    def sample(task, key):
        traces.append(task.func)
        return task(key)

    for seed in range(2):
        sample(few_shot(images(seed=seed), 3, 1, 2, rotations=True), jax.random.key(0))
        sample(sinusoid(shots=3, queries=4), jax.random.key(seed))
    assert len(traces) == 2
    assert glyphs(5, 1, 1).func == glyphs(5, 1, 1).func != glyphs(5, 1, 2).func


def test_in_float64_mode(x64):
    key = jax.random.key(0)
    task = few_shot(images(), 2, 1, 1)
    assert jax.eval_shape(task, key).support.inputs.dtype == "f4"
    assert jax.eval_shape(glyphs(2, 1, 1), key).support.inputs.dtype == "f4"
    assert jax.eval_shape(sinusoid(), key).support.inputs.dtype == "f8"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ways": 7}, r"ways: got 7, wants at most 6, the number of classes"),
        ({"ways": 0}, r"ways: got 0, wants an integer >= 1"),
        ({"shots": -1}, r"shots: got -1, wants an integer >= 1"),
        ({"queries": 1.5}, r"queries: got 1\.5, wants an integer >= 1"),
        (
            {"queries": 5},
            r"class 'a': got 6 examples \(2 such classes\), wants at least 7 = 2 shots \+ 5 q",
        ),
        ({"rotations": True}, r"rotations: got examples \[1\], wants square images"),
    ],
)
def test_what_cannot_be_is_refused_at_once(change, message):
    good = {"ways": 4, "shots": 2, "queries": 4}
    with pytest.raises(ValueError, match=message):
        few_shot(ROWS, **{**good, **change})


@pytest.mark.parametrize(
    "build",
    [
        lambda: sinusoid(shots=0),
        lambda: glyphs(5, 1, 0),
        lambda: glyphs(5, 1, 1, size=0),
    ],
)
def test_other_builders_refuse_too(build):
    with pytest.raises(ValueError, match="got 0, wants an integer >= 1"):
        build()


@pytest.mark.parametrize("labels", [np.array([1, 0]), jnp.array([1, 0])])
def test_labels_that_are_constants_of_a_program_are_looked_at(labels):
    def batch(x, ways):
        return Batch.of_labels(x, labels, ways).targets

    targets = jax.jit(batch, static_argnums=1)(np.zeros((2, 3)), 2)
    np.testing.assert_array_equal(targets, [[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="labels: got 0 to 1, wants 0 to 0"):
        jax.jit(batch, static_argnums=1)(np.zeros((2, 3)), 1)
