"""Rows of weight 0 change nothing, a weight is as many copies, whatever is transferred."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import transfer
from jaxmeta.core import Batch, Meta, Model
from jaxmeta.functional.spectral import coral_distance
from jaxmeta.losses import weighted_mean
from jaxmeta.tasks.domains import DomainPair, Unlabelled

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
RANDOM = np.random.default_rng(0)
X, OTHER = RANDOM.normal(size=(6, 3)), RANDOM.normal(size=(5, 3)) + 1
Y = np.eye(2)[[0, 1, 1, 0, 1, 0]]


def normed(width):
    """A layer and a norm with running averages, both told which rows count."""

    def init(key, x):
        w = jax.random.normal(key, (x.shape[1], width), float)
        return Meta({"w": w}, {"mean": jnp.zeros(width), "var": jnp.ones(width)})

    def apply(meta, x, *, train=False, key=None, weights=None):
        z, (mean, var) = (
            x @ meta.params["w"],
            (meta.buffers["mean"], meta.buffers["var"]),
        )
        buffers = meta.buffers
        if train:
            mean = weighted_mean(z, weights)
            var = weighted_mean((z - mean) ** 2, weights)
            buffers = {"mean": 0.9 * buffers["mean"] + 0.1 * mean,
                       "var": 0.9 * buffers["var"] + 0.1 * var}  # fmt: skip
        return jnp.tanh((z - mean) / jnp.sqrt(var + 1e-5)), buffers

    return Model(init, apply)


def plain(width):
    def init(key, x):
        return Meta({"w": jax.random.normal(key, (x.shape[1], width), float)})

    return Model(init, lambda meta, x, **_: (x @ meta.params["w"], meta.buffers))


BODY = normed(4)
HEADS = {"a": plain(2), "b": plain(2)}


def pair(batch):
    return DomainPair(batch, Unlabelled(OTHER))


def both(batch):
    """Two tasks that share their inputs and rows."""
    targets = {"a": batch.targets, "b": batch.targets[:, ::-1]}
    return batch._replace(targets=targets)


def method(build, **options):
    def objective():
        made = build(BODY, plain(2), **options)
        return jm.from_loss(made.init, made.loss)

    return objective


def distilled():
    old = BODY.init(jax.random.key(1), X)
    feature = transfer.distillation(BODY, old)
    return transfer.fine_tune(BODY, jm.models.linear_head(2), lam=0.5,
                              feature_loss=feature)  # fmt: skip


def gap():
    feature = transfer.feature_gap(coral_distance)
    return transfer.fine_tune(BODY, jm.models.linear_head(2), lam=0.5,
                              feature_loss=feature)  # fmt: skip


def adversarial(build, **options):
    def objective():
        made = build(BODY, plain(2), plain(1), steps=2, gamma=float("inf"), **options)
        return jm.from_loss(made.init, made.loss)

    return objective


def _head():
    """The normed layer with a classifier on it, in one `Model`."""

    def init(key, x):
        body = BODY.init(key, x)
        return body._replace(params={**body.params, "head": jnp.ones((4, 2)) * Y[:4]})

    def apply(meta, x, **options):
        z, buffers = BODY.apply(meta, x, **options)
        return z @ meta.params["head"], buffers

    return Model(init, apply)


BODY_WITH_HEAD = _head()


# name: (objective, batch of it, a mean over rows: a weight is as many copies)
SUBJECTS = {
    "supervised": (lambda: transfer.supervised(BODY_WITH_HEAD), lambda b: b, True),
    "fine_tune": (distilled, lambda b: b, True),
    "gap": (gap, pair, False),
    "multitask": (lambda: transfer.multitask(BODY, HEADS), both, True),
    "uncertainty": (
        lambda: transfer.multitask(BODY, HEADS, transfer.uncertainty()), both, True,
    ),
    "source_only": (method(transfer.source_only), pair, True),
    "dann": (adversarial(transfer.dann), pair, True),
    "dann, apart": (adversarial(transfer.dann, statistics="separate"), pair, True),
    "cdan": (adversarial(transfer.cdan), pair, True),
    "deep_coral": (method(transfer.deep_coral), pair, False),
    "dan": (method(transfer.dan, statistics="separate"), pair, False),
}  # fmt: skip


@functools.cache
def built(name):
    """The compiled objective, and a `Meta` that is at no special point."""
    build, shape, _ = SUBJECTS[name]
    objective = build()
    meta = objective.init(KEY, shape(Batch(X[:3], Y[:3])))
    if "head" in meta.params:  # not at zero, where features have no gradient
        params = {
            **meta.params,
            "head": jax.tree.map(jnp.ones_like, meta.params["head"]),
        }
        meta = meta._replace(params=jax.tree.map(
            lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape), params
        ))  # fmt: skip
    return jax.jit(objective.value_and_grad), meta, shape


def seen(name, batch):
    """Value, metrics, buffers and gradients."""
    run, meta, shape = built(name)
    return run(meta, shape(batch), KEY)


def same(a, b):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, 1e-10, 1e-12), a, b)


@pytest.mark.parametrize("name", SUBJECTS)
def test_padded_is_cut_and_a_weight_is_copies(name):
    cut = Batch(X[:4], Y[:4])
    w = np.array([1.0, 1, 1, 1, 0, 0])
    spoilt_x, spoilt_y = X.copy(), Y.copy()
    spoilt_x[4:], spoilt_y[4:] = np.nan, np.nan
    same(seen(name, Batch(spoilt_x, spoilt_y, w)), seen(name, cut))
    if SUBJECTS[name][2]:
        w = np.array([2.0, 1, 1, 2])
        rows = np.repeat(np.arange(4), w.astype(int))
        same(seen(name, cut._replace(weights=w)), seen(name, Batch(X[rows], Y[rows])))
    # and weights do count
    heavy = seen(name, cut._replace(weights=np.array([5.0, 1, 1, 1])))
    assert abs(heavy[0][0] - seen(name, cut)[0][0]) > 1e-3


@pytest.mark.parametrize("shared", [True, False])
def test_a_missing_label_of_one_task_changes_nothing_in_it(shared):
    objective = transfer.multitask(BODY, HEADS)
    run = jax.jit(objective.value_and_grad)
    b = Y[:, ::-1].copy()
    b[2], b[5] = np.nan, np.nan
    known = np.array([1.0, 1, 0, 1, 1, 0])
    rows = np.array([0, 1, 3, 4])
    if shared:  # one pass through the trunk, all rows in its statistics
        batch = Batch(X, {"a": Y, "b": b}, {"a": None, "b": known})
        meta = objective.init(KEY, batch)
        (_, aux), grads = run(meta, batch, KEY)
        trunk = Meta(meta.params["trunk"], meta.buffers["trunk"])
        features, running = BODY.apply(trunk, X, train=True)
        same(aux.buffers["trunk"], running)
        outputs, _ = HEADS["b"].apply(Meta(meta.params["heads"]["b"]), features[rows])
        want = jm.losses.cross_entropy(outputs, b[rows])
        np.testing.assert_allclose(aux.metrics["loss/b"], want, 1e-12)
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(grads))
        none = batch._replace(weights={"a": known, "b": known})
        same(
            run(meta, none, KEY),
            run(meta, both(Batch(X[rows], Y[rows])), KEY),
        )
    else:
        padded = {"a": Batch(X, Y), "b": Batch(X, b, known)}
        cut = {"a": Batch(X, Y), "b": Batch(X[rows], b[rows])}
        meta = objective.init(KEY, padded)
        same(run(meta, padded, KEY), run(meta, cut, KEY))


def test_criteria_differ_by_task():
    targets = {"a": Y, "b": RANDOM.normal(size=(6, 2))}
    kinds = {"a": jm.criteria.classification, "b": jm.criteria.regression}
    objective = transfer.multitask(BODY, HEADS, criterion=kinds)
    meta = objective.init(KEY, Batch(X, targets))
    (_, aux), _ = objective.value_and_grad(meta, Batch(X, targets), KEY)
    assert {"accuracy/a", "mse/b"} <= set(aux.metrics)
    np.testing.assert_allclose(aux.metrics["mse/b"], aux.metrics["loss/b"], 1e-12)
    with pytest.raises(ValueError, match="criterion: got tasks"):
        transfer.multitask(BODY, HEADS, criterion={"a": jm.losses.mse})


def test_fine_tuned_on_a_padded_support_set_is_on_the_cut_one():
    objective = transfer.supervised(BODY_WITH_HEAD)
    learner = transfer.as_learner(objective, BODY_WITH_HEAD, optax.adam(0.1), steps=3)
    meta = BODY_WITH_HEAD.init(KEY, X)
    w = np.array([1.0, 1, 1, 1, 0, 0])
    spoilt = X.copy()
    spoilt[4:] = np.nan
    fast = learner.adapt(meta, Batch(spoilt, Y, w), KEY)
    same(fast, learner.adapt(meta, Batch(X[:4], Y[:4]), KEY))
    got = learner.predict(meta, fast, spoilt, weights=w)
    np.testing.assert_allclose(got[:4], learner.predict(meta, fast, X[:4]), 1e-10)


def test_parameters_that_are_nan_score_nan():
    made = transfer.dann(BODY, plain(2), plain(1), steps=2)
    learner = transfer.zero_shot(made)
    batch = Batch(X, Y)
    meta = learner.init(KEY, jm.Episode(batch, batch))
    meta = jax.tree.map(lambda x: x * jnp.nan, meta)
    _, aux = made.loss(meta, pair(batch), KEY)
    assert all(jnp.isnan(x) for name, x in aux.metrics.items())
    result = jm.evaluate(
        learner, meta, lambda key: jm.Episode(batch, batch), KEY, episodes=2
    )
    assert np.isnan(result.mean) and np.isnan(result.scores).all()
    held = transfer.judge(
        batch, made.predict(meta, X), made.predict(meta, OTHER), Y[:, 0]
    )
    assert all(jnp.isnan(x) for x in held.values())


def test_a_held_out_set_may_be_padded():
    outputs, w = RANDOM.normal(size=(6, 2)), RANDOM.uniform(0.5, 2, 6)
    cut = transfer.judge(Batch(X[:4], Y[:4]), outputs[:4], outputs, w[:4])
    outputs_, y, w_ = outputs.copy(), Y.copy(), w.copy()
    outputs_[4:], y[4:], w_[4:] = np.nan, np.nan, np.nan
    rows = np.array([1.0, 1, 1, 1, 0, 0])
    padded = transfer.judge(Batch(X, y, rows), outputs_, outputs, w_)
    same(padded, cut)
    # equal to the mean of the losses by hand
    each = -np.sum(Y * np.asarray(jax.nn.log_softmax(outputs)), -1)[:4]
    np.testing.assert_allclose(cut["source_risk"], -each.mean(), 1e-12)
