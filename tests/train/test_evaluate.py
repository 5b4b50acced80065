"""Evaluation: whose criterion, whose episodes, which names, and how many programs."""

import gc
import itertools
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.core import Batch, Episode
from jaxmeta.data import from_counts
from jaxmeta.learners.probabilistic import classifier
from jaxmeta.report.finished import Finished
from jaxmeta.report.seen import see
from jaxmeta.testing import probe

KEY = jax.random.key(0)
BODY = jm.models.mlp(None, hidden=(4,))


def oracle(answer=lambda x: x, criterion=None):
    """Outputs are what the inputs say, and the inputs say the targets."""
    return jm.MetaLearner(
        lambda key, episode: jm.Meta({}),
        lambda meta, support, key: (),
        lambda meta, fast, inputs: answer(inputs),
        lambda meta, episode, key: (0.0, jm.Aux({})),
        criterion,
    )


def asks(shape, draw):
    """A task of which the inputs are the targets."""

    def task(key):
        def batch(key):
            targets = draw(key, shape)
            return Batch(targets, targets)

        return Episode(*map(batch, jax.random.split(key)))

    return task


def one_hot(key, shape):
    return jax.nn.one_hot(jax.random.randint(key, shape[:-1], 0, shape[-1]), shape[-1])


def yes_no(key, shape):
    return jax.random.bernoulli(key, 0.5, shape).astype("float32")


PLACES = jm.criteria.each_place(jm.criteria.classification)


@pytest.mark.parametrize(
    ("shape", "draw", "criterion", "answer", "metric", "score"),
    [
        ((8, 5, 3), one_hot, PLACES, lambda x: x, "accuracy", 1.0),
        ((8, 3), yes_no, jm.criteria.multilabel, lambda x: 2 * x - 1, "accuracy", 1.0),
        ((8, 1), yes_no, jm.criteria.binary, lambda x: 2 * x - 1, "accuracy", 1.0),
        ((8, 2), jax.random.normal, jm.criteria.regression, lambda x: x, "mse", 0.0),
        ((8, 2), yes_no, jm.criteria.regression, lambda x: x + 1, "mse", 1.0),
        ((8, 2), yes_no, jm.losses.mse, lambda x: x + 1, "mse", 1.0),
    ],
)
def test_a_task_is_judged_by_its_criterion(
    shape, draw, criterion, answer, metric, score
):
    task = asks(shape, draw)
    for learner, told in (
        (oracle(answer), criterion),
        (oracle(answer, criterion), None),
    ):
        found = jm.evaluate(learner, jm.Meta({}), task, KEY, episodes=3, criterion=told)
        assert (found.metric, found.mean, found.ci95) == (metric, score, 0.0)


def test_the_headline_is_the_first_metric_not_the_first_by_name():
    def report(outputs, targets, weights=None):
        return {"right": jnp.ones(()), "also": jnp.zeros(())}

    learner = oracle(criterion=jm.criteria.regression._replace(metrics=report))
    task = asks((8, 2), jax.random.normal)
    found = jm.evaluate(learner, jm.Meta({}), task, KEY, episodes=2)
    assert (found.metric, found.mean) == ("right", 1.0)
    assert found.metrics == {"right": 1.0, "also": 0.0}


def test_nan_parameters_are_no_score():
    learner, task = jm.protonet(BODY), probe()
    meta = learner.init(KEY, task(KEY))
    broken = jax.tree.map(lambda x: jnp.full_like(x, jnp.nan), meta)
    found = jm.evaluate(learner, broken, task, KEY, episodes=4)
    assert np.isnan(found.mean) and np.isnan(found.ci95) and found.transductive is None
    assert "nan" in str(found) and "unknown" in str(found)
    good = jm.evaluate(learner, meta, task, KEY, episodes=4)
    assert good.transductive is False and good.mean > 0
    saved = jm.evaluate(learner, meta, task, KEY, episodes=4, transduction=False)
    assert saved.transductive is None and saved.mean == good.mean


def test_a_class_that_is_ruled_out_hides_no_transduction():
    """What is said of it is huge, and no measure of how far the others moved."""
    two = jm.Batch.of_labels(np.eye(3, 8, dtype="float32")[[0, 0, 1]], [0, 0, 1], 3)
    item = jm.Episode(two, two)
    alone, together = jm.protonet(BODY), jm.protonet(BODY)

    def predict(meta, fast, inputs):
        return together.predict(meta, fast, inputs - inputs.mean(0))

    meta = alone.init(KEY, item)
    assert (jm.train.predictions(alone, meta, item, KEY)[:, 2] < -1e30).all()
    for learner, depends in (
        (alone, False),
        (together._replace(predict=predict), True),
    ):
        found = jm.evaluate(learner, meta, [item, item], KEY)
        assert found.transductive is depends


def test_episodes_from_the_host_are_those_of_the_task():
    """A list, a generator and batches of episodes score as the task they came from."""
    learner, task = jm.protonet(BODY), probe()
    meta = learner.init(KEY, task(KEY))
    want = jm.evaluate(learner, meta, task, KEY, episodes=6)
    keys = [jax.random.split(jax.random.fold_in(KEY, t))[0] for t in range(6)]
    items = [jax.tree.map(np.asarray, task(key)) for key in keys]
    pairs = [jax.tree.map(lambda *x: np.stack(x), *items[i : i + 2]) for i in (0, 2, 4)]
    for source, options in (
        (items, {}),
        ((item for item in items), {}),
        (pairs, dict(batched=True)),
    ):
        found = jm.evaluate(learner, meta, source, KEY, **options)
        np.testing.assert_allclose(found.scores, want.scores, rtol=1e-6)
        assert found.episodes == 6 and found.transductive is False
    assert jm.evaluate(learner, meta, items, KEY, episodes=3).episodes == 3
    with pytest.raises(ValueError, match="task: got 1 episodes, wants 2 or more"):
        jm.evaluate(learner, meta, items[:1], KEY)


def test_parts_change_nothing():
    """Whole chunks, the last part filled up; who is told, is told of every part."""
    learner, task = jm.protonet(BODY), probe()
    meta, done = learner.init(KEY, task(KEY)), []
    found = jm.evaluate(
        learner, meta, task, KEY, episodes=103, chunk=4, told=done.append
    )
    assert done == [48, 48, 7]
    want = jm.evaluate(learner, meta, task, KEY, episodes=103, chunk=103)
    np.testing.assert_allclose(found.scores, want.scores, rtol=1e-6)


def test_sets_of_other_sizes_are_judged_by_one_program():
    """Validation and test draw from other classes, and ask for other numbers of episodes."""
    rows = np.random.default_rng(0).normal(size=(45, 8)).astype("float32")
    sets = [from_counts(rows[: 5 * n], [5] * n, "abcdefghi"[:n]) for n in (6, 9)]
    learner, traced = jm.protonet(BODY), itertools.count()

    def adapt(*args):
        next(traced)
        return learner.adapt(*args)

    counted = learner._replace(adapt=adapt)
    tasks = [jm.tasks.few_shot(data, 3, 1, 2) for data in sets]
    meta = learner.init(KEY, tasks[0](KEY))
    jm.evaluate(counted, meta, tasks[0], KEY, episodes=60)
    before = next(traced)
    found = jm.evaluate(counted, meta, tasks[1], KEY, episodes=100)
    run = Finished(counted, meta, tasks[1], KEY, KEY, 100, found)
    assert see(run) is not None  # what is drawn of it, too
    assert before > 0 and next(traced) == before + 1


def test_padded_queries_are_no_part_of_batch_statistics():
    task = jm.tasks.glyphs(3, 2, 3, size=8)
    more = jm.tasks.padded(task, query=15)
    net = jm.models.conv4(None, filters=2, blocks=1, norm="batch")
    learner = jm.protonet(net, criterion=jm.losses.cross_entropy)
    meta = learner.init(KEY, task(KEY))
    believes = dict(predictive=classifier(learner).predictive, episodes=3)
    want, found = (jm.evaluate(learner, meta, t, KEY, **believes) for t in (task, more))
    np.testing.assert_allclose(found.scores, want.scores, rtol=1e-5)
    np.testing.assert_allclose(found.nlls, want.nlls, rtol=1e-5)
    np.testing.assert_allclose(found.ece, want.ece, rtol=1e-4)


def test_a_stream_is_evaluated():
    pytest.importorskip("grain")
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype("float32")
    stream = jm.tasks.stream(rows, np.arange(40) // 8, 3, 2, 2, steps=4, batch=3)
    learner = jm.protonet(BODY)
    meta = learner.init(KEY, jax.tree.map(lambda x: x[0], stream[0]))
    found = jm.evaluate(learner, meta, stream, KEY, episodes=10)
    assert found.episodes == 10 and found.scores.shape == (10,)


def test_episodes_of_several_sizes_come_in_turn():
    learner = jm.protonet(BODY)
    tasks = [probe(ways=w) for w in (3, 3, 2)]
    items = [task(jax.random.key(i)) for i, task in enumerate(tasks)]
    meta = learner.init(KEY, items[0])
    assert jm.evaluate(learner, meta, items, KEY).episodes == 3


def test_classes_with_names_are_told_apart():
    data = jm.data.from_counts(
        np.repeat(np.eye(3, dtype="float32"), 4, 0), [4, 4, 4], ("ant", "bee", "cow")
    )
    task = jm.tasks.few_shot(data, 2, 1, 2)
    # takes every bee for whatever is first of the two: 0 or 1
    flat = jm.protonet(jm.models.flat())
    blind = flat._replace(
        predict=lambda meta, fast, x: jnp.where(
            x[:, 1:2] > 0, jnp.array([1.0, 0.0]), -jnp.sum((x[:, None] - fast) ** 2, -1)
        )
    )
    meta = flat.init(KEY, task(KEY))
    right = jm.evaluate(flat, meta, task, KEY, episodes=20)
    assert right.per_class == {"ant": 1.0, "bee": 1.0, "cow": 1.0}
    wrong = jm.evaluate(blind, meta, task, KEY, episodes=40)
    assert wrong.per_class["ant"] == wrong.per_class["cow"] == 1.0
    assert 0 < wrong.per_class["bee"] < 1
    assert wrong.confusion.shape == (3, 3) and wrong.confusion.sum() == 40 * 4
    asked = wrong.confusion.sum(1)
    mean = sum(
        wrong.per_class[n] * a for n, a in zip(wrong.per_class, asked, strict=True)
    )
    np.testing.assert_allclose(mean / asked.sum(), wrong.mean, rtol=1e-6)
    assert jm.evaluate(flat, meta, probe(), KEY, episodes=2).confusion is None


class Counter:
    def __init__(self):
        self.count = 0


def counted(learner, traces):
    def adapt(meta, support, key):
        traces.count += 1
        return learner.adapt(meta, support, key)

    return learner._replace(adapt=adapt)


def test_learners_built_alike_share_programs_and_leave_none_behind():
    task, traces = probe(), Counter()

    def build(width=4, rate=0.1):
        net = jm.models.mlp(3, hidden=(width,))
        return counted(jm.maml(net, optax.sgd(rate), steps=1), traces)

    first = build()
    meta = first.init(KEY, task(KEY))
    want = jm.evaluate(first, meta, task, KEY, episodes=3)
    before = traces.count
    second = build()
    again = jm.evaluate(second, meta, task, KEY, episodes=3)
    assert traces.count == before, "an equal learner was compiled anew"
    np.testing.assert_array_equal(again.scores, want.scores)
    other = jm.evaluate(build(rate=0.3), meta, task, KEY, episodes=3)
    assert traces.count > before and not np.array_equal(other.scores, want.scores)
    gone = weakref.ref(first.adapt)
    del first, second
    gc.collect()
    assert gone() is None, "the learner outlives its user"


def test_an_episode_without_a_query_that_counts_has_no_score():
    learner, task = jm.protonet(BODY), probe()
    meta, some = learner.init(KEY, task(KEY)), task(KEY)
    none = some._replace(query=some.query._replace(weights=jnp.zeros(12)))
    assert np.isnan(jm.evaluate(learner, meta, [none, none], KEY).mean)


@pytest.mark.parametrize(
    "task", [probe()(KEY), [(1, 2)], lambda key: probe()(key).query]
)
def test_what_gives_no_episodes_is_refused(task):
    learner = jm.protonet(BODY)
    meta = learner.init(KEY, probe()(KEY))
    with pytest.raises(TypeError, match=r"task: g(ot|ave) .*wants"):
        jm.evaluate(learner, meta, task, KEY, episodes=2)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(episodes=1), "episodes: got 1, wants an integer >= 2"),
        (dict(chunk=0), "chunk: got 0, wants an integer >= 1"),
    ],
)
def test_bad_numbers_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        jm.evaluate(oracle(), jm.Meta({}), probe(), KEY, **options)
