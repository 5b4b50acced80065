"""Padding is weights: of any task, in a mixture, and as a random number of examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

import jaxmeta as jm
from jaxmeta import tasks
from jaxmeta.data import from_counts
from jaxmeta.functional.rows import clean
from jaxmeta.tasks import class_names, episode_classes

KEY = jax.random.key(0)
FALSE_ALARM = 1e-3
SAMPLE_MANY = jax.jit(lambda task, keys: jax.vmap(task)(keys))
COUNTS = [5, 7, 6]
# An example is (its class, its number): episodes tell what they are of.
ROWS = np.array([(c, i) for c, n in enumerate(COUNTS) for i in range(n)], "float32")
NAMED = from_counts(ROWS, COUNTS, ("ant", "bee", "cow"))
MORE = from_counts(ROWS + np.float32([3, 0]), COUNTS, ("dog", "elk", "ant"))


def test_a_padded_episode_is_the_episode_and_rows_of_weight_zero():
    plain = tasks.few_shot(NAMED, 2, 1, 3)
    task = tasks.padded(plain, support=5, query=6, ways=4)
    want, got = plain(KEY), jax.jit(lambda t, k: t(k))(task, KEY)
    for a, b, rows in zip(want, got, (5, 6), strict=True):
        n = len(a.targets)
        np.testing.assert_array_equal(b.inputs[:n], a.inputs)
        np.testing.assert_array_equal(b.targets[:n, :2], a.targets)
        assert b.targets.shape == (rows, 4) and (b.targets[:n, 2:] == 0).all()
        np.testing.assert_array_equal(b.weights, [1.0] * n + [0.0] * (rows - n))
    again = tasks.padded(task, support=8)(KEY).support
    np.testing.assert_array_equal(again.weights, [1, 1] + [0] * 6)
    left = tasks.padded(plain, support=3)(KEY)
    assert left.query.weights is None


def test_padding_of_regression_changes_no_loss():
    plain = tasks.sinusoid(3, 4)
    padded = tasks.padded(plain, query=9)
    a, b = plain(KEY).query, padded(KEY).query
    mse = jm.criteria.regression
    assert mse.loss(0 * b.targets, b.targets, b.weights) == pytest.approx(
        float(mse.loss(0 * a.targets, a.targets, None)), rel=1e-6
    )


def test_semi_supervised_tasks_are_padded_in_their_labelled_rows():
    task = tasks.semi_supervised(tasks.few_shot(NAMED, 2, 2, 3), 1, 2)
    batch = tasks.padded(task, support=4)(KEY).support
    assert batch.inputs.labelled.shape == (4, 2)
    assert batch.inputs.unlabelled.shape == (2, 2)
    np.testing.assert_array_equal(batch.weights, [1, 1, 0, 0])
    cleaned = clean(batch)
    np.testing.assert_array_equal(
        cleaned.inputs.labelled[2:], batch.inputs.labelled[jnp.array([0, 0])]
    )
    np.testing.assert_array_equal(cleaned.inputs.unlabelled, batch.inputs.unlabelled)


def test_sizes_below_the_task_are_refused():
    for change, message in (
        ({"support": 2}, "support: got 2, wants at least 3, what the task gives"),
        ({"query": 1}, "query: got 1, wants at least 4"),
    ):
        with pytest.raises(ValueError, match=message):
            tasks.padded(tasks.sinusoid(3, 4), **change)(KEY)
    with pytest.raises(ValueError, match="ways: got 0, wants an integer >= 1"):
        tasks.padded(tasks.sinusoid(3, 4), ways=0)


@pytest.mark.parametrize("build", [tasks.sinusoid, tasks.sine_or_line])
def test_a_random_number_of_points(build):
    """Every number and every choice of points is equally likely; the wave is the same."""
    task = build((2, 4), 3)
    episodes = SAMPLE_MANY(task, jax.random.split(KEY, 3000))
    weights = np.asarray(episodes.support.weights)
    assert weights.shape == (3000, 4) and set(np.unique(weights)) == {0, 1}
    assert episodes.query.weights is None
    assert chisquare(np.bincount(weights.sum(1).astype(int))[2:]).pvalue > FALSE_ALARM
    pairs = weights[weights.sum(1) == 2]
    found = np.unique(pairs, axis=0, return_counts=True)[1]
    assert len(found) == 6 and chisquare(found).pvalue > FALSE_ALARM
    np.testing.assert_array_equal(
        task(KEY).support.inputs, build(4, 3)(KEY).support.inputs
    )
    asked = build(4, (1, 3))(KEY)
    assert asked.support.weights is None and 1 <= asked.query.weights.sum() <= 3


def test_weights_that_are_there_stay():
    task = tasks.varying(tasks.padded(tasks.sinusoid(2, 2), support=4), support=(4, 4))
    np.testing.assert_array_equal(task(KEY).support.weights, [1, 1, 0, 0])


@pytest.mark.parametrize("bounds", [(0, 3), (4, 3), (1,), (1.0, 2), 3])
def test_bounds_that_are_none(bounds):
    with pytest.raises(ValueError, match=r"support: got .*, wants two integers \(low"):
        tasks.varying(tasks.sinusoid(4), support=bounds)
    if isinstance(bounds, tuple):
        with pytest.raises(ValueError, match=r"shots: got .*, wants two integers"):
            tasks.sinusoid(bounds)


def test_more_than_there_is():
    with pytest.raises(ValueError, match=r"support: got \(1, 9\), wants at most 4"):
        tasks.varying(tasks.sinusoid(4), support=(1, 9))(KEY)


def test_a_context_of_any_size_is_one_program():
    task, traces = tasks.sinusoid((1, 5), 2), []

    @jax.jit
    def sample(task, key):
        traces.append(1)
        return task(key).support.weights.sum()

    sizes = {int(sample(task, jax.random.key(i))) for i in range(40)}
    assert sizes == {1, 2, 3, 4, 5} and len(traces) == 1


def test_with_and_without_weights_mix():
    task = tasks.mixture([tasks.sinusoid(4, 2), tasks.sinusoid((1, 4), 2)], [1, 0])
    np.testing.assert_array_equal(task(KEY).support.weights, np.ones(4))
    assert task(KEY).query.weights is None
    small = tasks.padded(tasks.few_shot(NAMED, 2, 1, 1), support=3, query=3, ways=3)
    task = tasks.mixture([small, tasks.few_shot(NAMED, 3, 1, 1)])
    found = SAMPLE_MANY(task, jax.random.split(KEY, 40)).support.weights.sum(1)
    assert set(np.asarray(found).tolist()) == {2.0, 3.0}


def test_what_does_not_mix_is_said():
    def integers(key):
        return jax.tree.map(lambda x: x.astype("int32"), tasks.sinusoid(3, 2)(key))

    floats, wants = tasks.sinusoid(3, 2), "wants the same shapes and types of all"
    for other, message in (
        (integers, r"support/inputs float32\[3, 1\] from task 0 and int32\[3, 1\]"),
        (tasks.sinusoid(4, 2), r"support/inputs float32\[3, 1\] .* float32\[4, 1\]"),
        (tasks.semi_supervised(lambda key: two_points(), 1, 1), "another structure"),
    ):
        with pytest.raises(ValueError, match=f"tasks: got .*{message}.*, {wants}"):
            tasks.mixture([floats, other])
    with pytest.raises(ValueError, match="weights: got"):
        tasks.mixture([floats, floats], [float("nan"), 1])


def two_points():
    batch = jm.Batch(jnp.ones((2, 1)), jnp.eye(2))
    return jm.Episode(batch, batch)


# Class names.

WITH_NAMES = {
    "few_shot": tasks.few_shot(NAMED, 2, 1, 2),
    "meta_dataset": tasks.meta_dataset(
        NAMED, min_ways=2, max_ways=3, max_queries=1, max_support=4
    ),
    "domains": tasks.domains({"x": NAMED, "y": NAMED}, 2, 1, 2),
    "unshuffled": tasks.domains({"x": NAMED}, 3, 1, 2, shuffle=False),
    "augmented": tasks.augmented(tasks.few_shot(NAMED, 2, 1, 2), lambda key, x: x),
    "semi": tasks.semi_supervised(tasks.few_shot(NAMED, 2, 2, 3), 1, 2),
    "padded": tasks.padded(tasks.few_shot(NAMED, 2, 1, 2), support=5, ways=4),
    "varying": tasks.varying(tasks.few_shot(NAMED, 2, 1, 2), query=(4, 4)),
    "mixture": tasks.mixture(
        [tasks.few_shot(NAMED, 2, 1, 2), tasks.few_shot(MORE, 2, 1, 2)]
    ),
    "mixture of mixtures": tasks.mixture(
        [
            tasks.padded(tasks.few_shot(NAMED, 2, 1, 2), ways=3),
            tasks.mixture([tasks.padded(tasks.few_shot(MORE, 2, 1, 2), ways=3)]),
        ]
    ),
}


@pytest.mark.parametrize("name", WITH_NAMES)
def test_labels_have_the_names_of_their_classes(name):
    task = WITH_NAMES[name]
    names, keys = class_names(task), jax.random.split(KEY, 20)
    sources = ("ant", "bee", "cow", "dog", "elk")
    assert names == (sources if "mixture" in name else sources[:3])
    both = jax.jit(lambda t, k: jax.vmap(lambda k: (t(k), episode_classes(t, k)))(k))
    episodes, classes = both(task, keys)
    assert classes.dtype == jnp.int32
    # inputs say which class they are of: 5 is the second "ant"
    owner = [*sources, "ant"]
    for t in range(20):
        for batch in jax.tree.map(lambda x, t=t: x[t], episodes):
            x = np.asarray(tasks.semi.labelled(batch.inputs))[:, 0].astype(int)
            labels = np.asarray(batch.targets).argmax(1)
            real = np.ones(len(x)) if batch.weights is None else batch.weights
            for i in np.flatnonzero(real):
                assert names[classes[t, labels[i]]] == owner[x[i]]
        seen = np.asarray(episodes.support.targets[t])
        if episodes.support.weights is not None:
            seen = seen * np.asarray(episodes.support.weights[t])[:, None]
        np.testing.assert_array_equal(np.asarray(classes[t]) >= 0, seen.any(0))


@pytest.mark.parametrize(
    "task",
    [
        tasks.sinusoid(),
        tasks.glyphs(2, 1, 1, size=8),
        tasks.ambiguous(tasks.glyphs(4, 1, 1, size=8)),
        tasks.augmented(tasks.glyphs(2, 1, 1, size=8), lambda key, x: x),
        tasks.mixture(
            [WITH_NAMES["few_shot"], lambda key: WITH_NAMES["few_shot"](key)]
        ),
        lambda key: None,
    ],
)
def test_tasks_without_names(task):
    assert class_names(task) is None and episode_classes(task, KEY) is None


def test_names_are_no_leaves_and_equal_tasks_compile_once():
    traces = []

    @jax.jit
    def sample(task, key):
        traces.append(1)
        return episode_classes(task, key)

    for _ in range(2):
        sample(tasks.padded(tasks.few_shot(NAMED, 2, 1, 2), ways=3), KEY)
    assert len(traces) == 1
    leaves = jax.tree.leaves(WITH_NAMES["mixture"])
    assert all(isinstance(x, jax.Array) for x in leaves)


def test_evaluate_knows_the_classes_by_name():
    """A rule that is right on all but elks, which it takes for the other class."""

    def adapt(meta, support, key):
        return support

    def predict(meta, fast, inputs, *, weights=None):
        near = -((inputs[:, :1] - fast.inputs[:, 0]) ** 2) @ fast.targets
        return jnp.where(inputs[:, :1] == 4, -near, near)  # an elk

    learner = jm.MetaLearner(None, adapt, predict, None)
    three = from_counts(MORE.inputs, COUNTS, ("dog", "elk", "fox"))
    task = tasks.padded(tasks.few_shot(three, 2, 1, 3), query=8)
    found = jm.evaluate(learner, (), task, KEY, episodes=40)
    assert found.per_class == {"dog": 1.0, "elk": 0.0, "fox": 1.0}
    counts = np.asarray(found.confusion)
    assert counts.sum() == 40 * 2 * 3 and counts[1, 1] == 0
    assert (counts[[0, 2], [0, 2]] > 0).all() and counts[0, 2] == counts[2, 0] == 0
    of_points = jm.evaluate(learner, (), lambda key: task(key), KEY, episodes=4)
    assert of_points.per_class is None and of_points.confusion is None
