"""Across modalities: tasks, the fused learner, the two ways to learn a map."""

import jax
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import models, tasks, transfer
from jaxmeta.core import Batch, Meta
from jaxmeta.data import from_counts
from jaxmeta.tasks import Seen
from jaxmeta.testing import check_learner

RANDOM = np.random.default_rng(0)
NAMES = tuple("abcde")
# a picture is its class's number, then which of the class's it is
NUMBERS = np.stack([np.repeat(np.arange(5), 4), np.tile(np.arange(4), 5)], 1)
DATA = from_counts(NUMBERS.astype("float32"), [4] * 5, NAMES)
OTHER = from_counts((NUMBERS + np.array([0, 10])).astype("float32"), [4] * 5, NAMES)
TEXTS = 100 + np.arange(5, dtype="float32")[:, None]
LEARNER = transfer.cross_modal(models.flat(), models.linear_head(2))


def draw(**options):
    sizes = {"ways": 3, "shots": 2, "queries": 2} | options
    task = tasks.cross_modal(DATA, TEXTS, **sizes)
    return task, jax.jit(task)(jax.random.key(1))


@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("asked", [None, OTHER])
def test_episodes_hold_what_belongs_together(shots, asked):
    task, episode = draw(shots=shots, asked=asked)
    classes = np.asarray(tasks.episode_classes(task, jax.random.key(1)))
    assert len(set(classes)) == 3 and tasks.class_names(task) == NAMES
    (image, text, there), targets, _ = jax.tree.map(np.asarray, episode.support)
    mine = classes[targets.argmax(1)]
    pictures, told = there.T.astype(bool)
    assert pictures.sum() == 3 * shots and told.sum() == 3
    assert (pictures != told).all()
    assert (image[pictures, 0] == mine[pictures]).all()
    assert (text[told, 0] == 100 + mine[told]).all()
    asked_of = jax.tree.map(np.asarray, episode.query.inputs)
    assert (asked_of.there == [1, 0]).all() and len(asked_of.image) == 6
    theirs = classes[np.asarray(episode.query.targets).argmax(1)]
    assert (asked_of.image[:, 0] == theirs).all()
    assert (np.asarray(asked_of.image[:, 1]) >= 10).all() == (asked is not None)
    rows = {tuple(map(float, x)) for x in (*image[pictures], *asked_of.image)}
    assert len(rows) == 3 * shots + 6  # none twice


def test_tasks_refuse_what_they_cannot_draw():
    cases = (
        ({"shots": 0, "told": False}, "shots: got 0 without texts"),
        ({"shots": 3}, "data: class 'a': got 4 pictures, wants at least 5"),
        ({"ways": 6}, "ways: got 6, wants at most 5"),
        ({"queries": 5, "asked": OTHER}, "asked: class 'a': got 4"),
        ({"asked": OTHER._replace(names=tuple("abcdx"))}, "asked: got other classes"),
    )
    for options, message in cases:
        with pytest.raises(ValueError, match=message):
            draw(**options)
    with pytest.raises(ValueError, match=r"texts: got shape \[4, 1\], wants \[5, v\]"):
        tasks.pairs(DATA, TEXTS[:4])


def test_pairs_are_of_one_class():
    batch = jm.train.sample_batch(tasks.pairs(DATA, TEXTS), jax.random.key(0), 200)
    (image, text, there), targets, _ = jax.tree.map(np.asarray, batch)
    assert (image[:, 0] == targets.argmax(1)).all() and (there == 1).all()
    assert (text[:, 0] == 100 + image[:, 0]).all()
    assert len({tuple(x) for x in image.tolist()}) == 20  # all of them


@pytest.mark.usefixtures("x64")
def test_prototypes_are_fused_as_the_formula_says():
    x, t, q = (RANDOM.normal(size=s) for s in ((5, 3), (2, 4), (6, 3)))
    kernel, bias, worth, scale = RANDOM.normal(size=(4, 3)), np.ones(3), 1.7, 5.0
    labels = np.array([0, 0, 0, 1, 1, 0, 1])
    there = np.array([[1.0, 0]] * 5 + [[0.0, 1]] * 2)
    nan = np.full((5, 4), np.nan)  # what is not there does not matter
    seen = Seen(np.r_[x, np.full((2, 3), np.nan)], np.r_[nan, t], there)
    weights = np.array([1.0, 1, 0, 2, 1, 1, 1])
    support = Batch(seen, np.eye(3)[labels], weights)
    head = {"log_worth": np.log(worth), "log_scale": np.log(scale)}
    params = {"image": {}, "text": {"kernel": kernel, "bias": bias}, "head": head}
    meta = Meta(params, {"image": {}, "text": ()})
    learner = transfer.cross_modal(models.flat(), models.linear_head(3))
    fast = learner.adapt(meta, support, jax.random.key(0))

    def unit(z):
        return z / np.linalg.norm(z, axis=-1, keepdims=True)

    u, v = unit(x), unit(t @ kernel + bias)
    want = [
        (u[0] + u[1] + worth * v[0]) / (2 + worth),
        (2 * u[3] + u[4] + worth * v[1]) / (3 + worth),
        np.zeros(3),  # nothing is known of the third
    ]
    np.testing.assert_allclose(fast, want, rtol=1e-12)
    asked = Seen(q, np.zeros((6, 4)), np.tile([1.0, 0], (6, 1)))
    said = learner.predict(meta, fast, asked)
    np.testing.assert_allclose(
        said[:, :2], scale * unit(q) @ unit(np.array(want[:2])).T, rtol=1e-12
    )


@pytest.mark.usefixtures("x64")
def test_the_map_is_ridge_with_an_intercept_and_leaves_each_class_out():
    texts, means, lam = RANDOM.normal(size=(6, 9)), RANDOM.normal(size=(6, 2)), 0.3

    def fit(t, m):
        x, y = t - t.mean(0), m - m.mean(0)
        kernel = np.linalg.solve(x.T @ x + lam * np.eye(9), x.T @ y)
        return lambda new: m.mean(0) + (new - t.mean(0)) @ kernel

    found = transfer.text_map(texts, means, lam)
    new = RANDOM.normal(size=(3, 9))
    got = models.linear_head(2).apply(found.meta, new)[0]
    np.testing.assert_allclose(got, fit(texts, means)(new), rtol=1e-9)
    for k in range(6):
        rest = np.arange(6) != k
        want = fit(texts[rest], means[rest])(texts[k])
        np.testing.assert_allclose(found.left_out[k], want, rtol=1e-8)
    with pytest.raises(ValueError, match=r"means: got shape \[5, 2\], wants \[6, d\]"):
        transfer.text_map(texts, means[:5], lam)
    with pytest.raises(ValueError, match="texts: got 1 class"):
        transfer.text_map(texts[:1], means[:1], lam)
    with pytest.raises(ValueError, match="lam: got 0"):
        transfer.text_map(texts, means, 0.0)


def world(classes, seed):
    """Texts that say where a class is, up to noise; pictures about that place."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=(classes, 3)).astype("float32")
    text_of, look_of = np.random.default_rng(7).normal(size=(2, 3, 8)).astype("float32")
    texts = hidden @ text_of + 0.1 * random.normal(size=(classes, 8))
    looks = np.repeat(hidden @ look_of, 8, 0)
    looks = looks + 0.5 * random.normal(size=looks.shape)
    names = [f"c{i}" for i in range(classes)]
    data = from_counts(looks.astype("float32"), [8] * classes, names)
    return data, texts.astype("float32")


def test_towers_learn_what_texts_say_of_classes_they_never_saw():
    data, texts = world(30, 0)
    towers = models.flat(), models.mlp(8, hidden=())
    objective = transfer.two_towers(*towers)
    trainer = jm.make_trainer(objective, optax.adam(0.03))
    draw = tasks.pairs(data, texts)
    batch = jm.train.sample_batch(draw, jax.random.key(0), 2)
    state = trainer.init(jax.random.key(1), batch)
    state, metrics = jm.fit(trainer, draw, state, jax.random.key(2), steps=60, batch=16)
    loss = metrics["contrastive"]
    assert loss[-5:].mean() < loss[0] / 2
    learner = transfer.cross_modal(*towers)
    new = world(10, 1)
    task = tasks.cross_modal(*new, ways=5, shots=0, queries=5)
    told = jm.evaluate(learner, state.meta, task, jax.random.key(3), episodes=50)
    assert told.mean > 0.6  # chance is 0.2


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
def test_the_learner_obeys_the_laws():
    task = tasks.cross_modal(*world(30, 0), ways=3, shots=2, queries=4)
    net = models.mlp(None, hidden=(6,))
    learner = transfer.cross_modal(net, models.mlp(6, hidden=()))
    check_learner(learner, task, metric_learner=True)
