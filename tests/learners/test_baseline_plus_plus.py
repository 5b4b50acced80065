"""Baseline++: only a cosine head is fitted, on features that do not move."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta.functional.distances import cosine_similarity, unit
from tests.learners.embedded import linear, predict, ready

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def test_no_steps_is_the_nearest_mean_by_cosine():
    learner = jm.baseline_plus_plus(linear(), steps=0, scale=4.0)
    meta, task = ready(learner)
    f, q = (b.inputs @ meta.params["w"] for b in task)
    means = (f[0::2] + f[1::2]) / 2
    w = learner.adapt(meta, task.support, KEY)
    np.testing.assert_allclose(w, unit(means), rtol=1e-12)
    expected = 4.0 * cosine_similarity(q, means)
    np.testing.assert_allclose(predict(learner, meta, task), expected, rtol=1e-12)


@pytest.mark.parametrize("start", ["means", "random"])
def test_head_ends_at_a_minimum_of_the_support_loss(start):
    learner = jm.baseline_plus_plus(
        linear(), inner=optax.sgd(0.5), steps=2000, scale=2.0, start=start
    )
    meta, task = ready(learner)
    w = learner.adapt(meta, task.support, KEY)
    f = task.support.inputs @ meta.params["w"]

    def support_loss(w):
        outputs = 2.0 * cosine_similarity(f, w)
        return jm.losses.cross_entropy(outputs, task.support.targets)

    np.testing.assert_allclose(jax.grad(support_loss)(w), 0.0, atol=1e-4)


def test_random_start_follows_the_key():
    learner = jm.baseline_plus_plus(linear(), steps=1, start="random")
    meta, task = ready(learner)
    one, two = (learner.adapt(meta, task.support, jax.random.key(k)) for k in (0, 1))
    assert np.abs(one - two).max() > 1e-2


def gradients(start, shift):
    """The meta-gradient, and that of a head made as `shift(params)` says."""
    learner = jm.baseline_plus_plus(linear(), steps=3, start=start)
    meta, task = ready(learner)
    head_key = jax.random.split(KEY)[1]
    head = learner.adapt(meta, task.support, head_key)

    def by_hand(params):
        fast = head + shift(meta, task, params)
        outputs = learner.predict(jm.Meta(params), fast, task.query.inputs)
        return jm.losses.cross_entropy(outputs, task.query.targets)

    got = jax.grad(lambda p: learner.loss(jm.Meta(p), task, KEY)[0])(meta.params)
    return got["w"], jax.grad(by_hand)(meta.params)["w"]


def test_a_random_head_is_a_constant_to_the_encoder():
    got, expected = gradients("random", lambda meta, task, params: 0.0)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    assert jnp.abs(got).max() > 1e-3


def test_the_fitting_steps_are_constants_and_the_class_means_are_not():
    def start(task, params):
        f = task.support.inputs @ params["w"]
        return unit((f[0::2] + f[1::2]) / 2)

    got, expected = gradients(
        "means",
        lambda meta, task, params: start(task, params) - start(task, meta.params),
    )
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "match"),
    [(dict(steps=-1), "steps"), (dict(scale=0.0), "scale"), (dict(start="x"), "start")],
)
def test_errors_name_the_field(options, match):
    with pytest.raises(ValueError, match=f"{match}: got"):
        jm.baseline_plus_plus(linear(), **options)
