"""R2-D2 and LR-D2: the classifier is the stationary point it claims to be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

import jaxmeta as jm
from jaxmeta.learners import lrd2
from tests.learners.embedded import linear, predict, ready

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)


def features(meta, batch, intercept=True):
    f = batch.inputs @ meta.params["model"]["w"]
    return jnp.concatenate([f, jnp.ones((len(f), 1))], 1) if intercept else f


@pytest.mark.parametrize("intercept", [False, True])
def test_ridge_is_stationary_and_outputs_are_calibrated(intercept):
    learner = jm.r2d2(linear(), lam=0.7, scale=3.0, bias=0.2, intercept=intercept)
    meta, task = ready(learner)
    w = learner.adapt(meta, task.support, KEY)
    x = features(meta, task.support, intercept)

    def objective(w):
        return jnp.sum((x @ w - task.support.targets) ** 2) + 0.7 * jnp.sum(w**2)

    np.testing.assert_allclose(jax.grad(objective)(w), 0.0, atol=1e-8)
    expected = 3.0 * features(meta, task.query, intercept) @ w + 0.2
    np.testing.assert_allclose(predict(learner, meta, task), expected, rtol=1e-12)


def test_woodbury_is_the_primal_to_the_gradient():
    value = {}
    for form in ("primal", "dual"):
        learner = jm.r2d2(linear(), form=form)
        meta, task = ready(learner)
        value[form] = jax.value_and_grad(
            lambda p, run=learner.loss, task=task: run(jm.Meta(p), task, KEY)[0]
        )(meta.params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11),
        value["primal"],
        value["dual"],
    )
    grads = value["dual"][1]["head"]
    assert abs(grads["log_lam"]) > 1e-4 and abs(grads["log_scale"]) > 1e-4
    # the softmax does not see a constant
    np.testing.assert_allclose(grads["bias"], 0.0, atol=1e-12)


@pytest.mark.parametrize("build", [jm.r2d2, lrd2])
def test_meta_gradient(build):
    learner = build(linear(), scale=2.0)
    meta, task = ready(learner)
    loss = jax.jit(lambda p: learner.loss(jm.Meta(p), task, KEY)[0])
    check_grads(loss, (meta.params,), 1, ["rev"])


def test_logistic_sibling_is_stationary_in_each_class():
    learner = lrd2(linear(), lam=0.5, steps=10)
    meta, task = ready(learner)
    w, x = learner.adapt(meta, task.support, KEY), features(meta, task.support)

    def objective(w):
        sign = 2 * task.support.targets - 1
        return jnp.sum(jnp.logaddexp(0.0, -sign * (x @ w))) + 0.25 * jnp.sum(w**2)

    np.testing.assert_allclose(jax.grad(objective)(w), 0.0, atol=1e-8)


def test_padding_is_invisible_to_the_sibling():
    learner = lrd2(linear())
    meta, task = ready(learner)
    x, t, _ = task.support
    padded = jm.Batch(
        jnp.concatenate([x, x[:2] * jnp.nan]),
        jnp.concatenate([t, t[:2]]),
        jnp.repeat(jnp.array([1.0, 0.0]), jnp.array([len(x), 2])),
    )
    np.testing.assert_allclose(
        learner.adapt(meta, padded, KEY),
        learner.adapt(meta, task.support, KEY),
        atol=1e-12,
    )


@pytest.mark.parametrize("name", ["lam", "scale"])
def test_errors_name_the_field(name):
    with pytest.raises(ValueError, match=f"{name}: got -1"):
        jm.r2d2(linear(), **{name: -1.0})
