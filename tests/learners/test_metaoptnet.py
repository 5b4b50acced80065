"""MetaOptNet: the solver's optimality is reported, its gradient that of the optimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from sklearn.svm import LinearSVC

import jaxmeta as jm
from tests.learners.embedded import linear, predict, ready
from tests.learners.weighted import same_as_copies, traces_once

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


def test_weights_are_copies():
    same_as_copies(jm.metaoptnet(linear(), iterations=5000), 1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_two_steps_are_one_program(dtype):
    traces_once(jm.metaoptnet(linear()), dtype)


def test_label_smoothing_is_the_papers():
    """Targets of the queries are softened, the machine's own are not; metrics are hard."""
    plain, smooth = (
        jm.metaoptnet(linear(), scale=4.0, criterion=c)
        for c in (jm.criteria.classification, jm.criteria.label_smoothing(0.1))
    )
    meta, task = ready(plain)
    value, aux = smooth.loss(meta, task, KEY)
    log_p = jax.nn.log_softmax(predict(smooth, meta, task))
    soft = 0.9 * task.query.targets + 0.1 / 3
    np.testing.assert_allclose(value, -jnp.mean(jnp.sum(soft * log_p, 1)), rtol=1e-12)
    hard, other = plain.loss(meta, task, KEY)
    assert abs(hard - value) > 1e-3
    assert aux.metrics["accuracy"] == other.metrics["accuracy"]
    np.testing.assert_array_equal(
        smooth.adapt(meta, task.support, KEY), plain.adapt(meta, task.support, KEY)
    )


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e5])
def test_features_of_any_size(scale):
    """In float32 as in float64, the gradient too; the residual says that it is solved."""
    found = []
    for dtype in ("float32", "float64"):
        learner = jm.metaoptnet(linear(), scale=1.0)
        meta, task = jax.tree.map(lambda x, t=dtype: x.astype(t), ready(learner))
        meta.params["model"]["w"] = meta.params["model"]["w"] * scale

        @jax.jit
        def both(meta, task, learner=learner):
            graded = jax.value_and_grad(learner.loss, has_aux=True)(meta, task, KEY)
            return graded, scale * learner.adapt(meta, task.support, KEY)

        ((value, aux), grads), w = both(meta, task)
        assert aux.metrics["kkt"] < 1e-3
        found.append([value, scale * grads.params["model"]["w"], w])
    for got, want in zip(*found, strict=True):
        assert np.abs(want).max() > 0
        np.testing.assert_allclose(got, want, atol=1e-3 * np.abs(want).max())


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
