"""Logistic regression on features: the minimum, its gradient, and scikit-learn's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import jaxmeta as jm
from jaxmeta.functional.logistic import bounded_logistic, fit_logistic
from jaxmeta.losses import cross_entropy
from tests.learners.embedded import episode, linear, predict, ready

pytestmark = pytest.mark.usefixtures("x64")
RNG = np.random.default_rng(3)


@pytest.mark.parametrize(("n", "d"), [(12, 4), (6, 20)])
def test_the_bound_leads_to_the_minimum(n, d):
    """No slope is left, rows of weight 0 play no part, and L-BFGS finds the same."""
    x, t = RNG.normal(size=(n, d)), np.eye(3)[np.arange(n) % 3]
    w = np.where(np.arange(n) == 4, 0.0, 1.0 + np.arange(n) % 2)
    x[4] = np.inf
    found = bounded_logistic(x, t, w, l2=0.05, tolerance=1e-11)

    def risk(linear):
        real = w > 0
        loss = cross_entropy(linear(x[real]), t[real], w[real])
        return loss + 0.05 / 2 * jnp.sum(jnp.square(linear.kernel))

    for slope in jax.grad(risk)(found):
        np.testing.assert_allclose(slope, 0, atol=1e-9)
    if n > d:  # the other's scaling wants more examples than features
        other = fit_logistic(x, t, w, l2=0.05, tolerance=1e-10)
        np.testing.assert_allclose(found.kernel, other.kernel, atol=1e-7)


def test_it_is_scikit_learns():
    learner = jm.logistic_regression(jm.models.flat(), l2=0.1, tolerance=1e-10)
    task = episode(1)
    x, t, _ = task.support
    theirs = LogisticRegression(C=1 / (0.1 * len(x)), tol=1e-10, max_iter=1000)
    theirs.fit(x, t.argmax(1))
    meta = learner.init(jax.random.key(0), task)
    ours = jax.nn.softmax(predict(learner, meta, task))
    expected = theirs.predict_proba(np.asarray(task.query.inputs))
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_its_gradient_is_that_of_the_minimum():
    """Central differences through a fit that is as good as exact."""
    learner = jm.logistic_regression(linear(), l2=0.2, tolerance=1e-13, solve=60)
    meta, task = ready(learner)
    w = meta.params["w"]

    @jax.jit
    def loss(w):
        return learner.loss(jm.Meta({"w": w}), task, jax.random.key(0))[0]

    found = jax.jit(jax.grad(loss))(w)
    step = jnp.asarray(np.random.default_rng(0).normal(size=w.shape))
    gap = (loss(w + 1e-5 * step) - loss(w - 1e-5 * step)) / 2e-5
    np.testing.assert_allclose(jnp.sum(found * step), gap, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"), [("l2", 0.0), ("steps", 0), ("solve", 0), ("tolerance", -1.0)]
)
def test_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name}: got"):
        jm.logistic_regression(linear(), **{name: value})
