"""Tip-Adapter: its limits, weights, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxmeta as jm
from tests.learners.embedded import linear, predict, ready

pytestmark = pytest.mark.usefixtures("x64")


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_a_sharp_loud_cache_is_the_nearest_neighbour():
    learner = jm.tip_adapter(jm.models.flat(), alpha=1.0, beta=200.0, scale=1e-300)
    _, task = ready(learner)
    meta = learner.init(jax.random.key(0), task)
    x, t = map(np.asarray, task.support[:2])
    near = (unit(np.asarray(task.query.inputs)) @ unit(x).T).argmax(1)
    said = predict(learner, meta, task).argmax(1)
    np.testing.assert_array_equal(said, t.argmax(1)[near])


def test_a_silent_cache_is_the_cosine_to_the_means():
    learner = jm.tip_adapter(linear(), alpha=1e-300, scale=3.0)
    meta, task = ready(learner)
    f, q = (np.asarray(b.inputs @ meta.params["model"]["w"]) for b in task)
    t = np.asarray(task.support.targets)
    expected = 3.0 * unit(q) @ unit(t.T @ unit(f)).T
    np.testing.assert_allclose(predict(learner, meta, task), expected, rtol=1e-10)


def test_its_scalars_are_learned():
    learner = jm.tip_adapter(linear())
    meta, task = ready(learner)
    head = jax.grad(lambda p: learner.loss(jm.Meta(p), task, jax.random.key(0))[0])(
        meta.params
    )["head"]
    assert set(head) == {"log_alpha", "log_beta", "log_scale"}
    assert all(jnp.isfinite(g) and g != 0 for g in head.values())


@pytest.mark.parametrize("name", ["alpha", "beta", "scale"])
def test_out_of_range(name):
    with pytest.raises(ValueError, match=f"{name}: got 0"):
        jm.tip_adapter(linear(), **{name: 0.0})
