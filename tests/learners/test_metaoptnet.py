"""MetaOptNet: the solver's optimality is reported, its gradient that of the optimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.svm import LinearSVC

import jaxmeta as jm
from tests.learners.embedded import linear, predict, ready

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def test_classifier_is_scikit_learns_machine():
    learner = jm.metaoptnet(linear(), C=0.1, iterations=1000, scale=2.0)
    meta, task = ready(learner)
    w = np.asarray(meta.params["model"]["w"])
    machine = LinearSVC(
        C=0.1, multi_class="crammer_singer", fit_intercept=False, tol=1e-8,
        max_iter=100_000,
    )  # fmt: skip
    machine.fit(np.asarray(task.support.inputs) @ w, task.support.targets.argmax(1))
    np.testing.assert_allclose(
        learner.adapt(meta, task.support, KEY), machine.coef_.T, atol=1e-4
    )
    scores = machine.decision_function(np.asarray(task.query.inputs) @ w)
    np.testing.assert_allclose(predict(learner, meta, task), 2 * scores, atol=2e-3)


def test_kkt_residual_is_reported_and_falls():
    found = []
    for iterations in (3, 30, 1000):
        learner = jm.metaoptnet(linear(), iterations=iterations)
        meta, task = ready(learner)
        found.append(float(learner.loss(meta, task, KEY)[1].metrics["kkt"]))
    assert found[0] > 1e-2 > 1e-3 > found[1] > found[2] and found[2] < 1e-10


def test_meta_gradient_is_that_of_the_optimum():
    learner = jm.metaoptnet(linear(), C=0.1, iterations=3000)
    meta, task = ready(learner)
    loss = jax.jit(lambda p: learner.loss(jm.Meta(p), task, KEY)[0])
    check_grads(loss, (meta.params,), 1, ["rev"])


def test_scale_is_learned():
    learner = jm.metaoptnet(linear(), scale=3.0)
    meta, task = ready(learner)
    grads = jax.grad(lambda p: learner.loss(jm.Meta(p), task, KEY)[0])(meta.params)
    np.testing.assert_allclose(jnp.exp(meta.params["head"]["log_scale"]), 3.0)
    assert abs(grads["head"]["log_scale"]) > 1e-4


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (dict(C=0.0), "C: got 0"),
        (dict(iterations=0), "iterations: got 0"),
        (dict(scale=-1.0), "scale: got -1"),
    ],
)
def test_errors_name_the_field(options, match):
    with pytest.raises(ValueError, match=match):
        jm.metaoptnet(linear(), **options)
