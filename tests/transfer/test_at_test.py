"""Fine-tuning at test time: what it is when written out, and what it leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxmeta as jm
from jaxmeta import transfer
from tests.learners.family import wide

pytestmark = pytest.mark.usefixtures("x64")
KEY = jax.random.key(0)
NET = jm.models.mlp(None, hidden=(3,), activation=jnp.tanh)
RATE = 0.2


def brighter(key, image):
    return image + 0.1 * jax.random.normal(key, image.shape)


def task():
    random = np.random.default_rng(0)
    batch = lambda n: jm.Batch(  # noqa: E731
        jnp.asarray(random.normal(size=(n, 2, 2, 1))), jnp.eye(2)[jnp.arange(n) % 2]
    )
    return jm.Episode(batch(4), batch(3))


def test_it_is_gradient_descent_on_views_of_the_support():
    learner, episode = jm.protonet(NET), task()
    meta = wide(learner.init(KEY, episode))
    tester = transfer.tuned_at_test(learner, optax.sgd(RATE), steps=2, augment=brighter)
    assert tester.loss is learner.loss and tester.init is learner.init
    params = meta.params
    for k in range(2):
        drawing, noise = jax.random.split(jax.random.fold_in(KEY, k))
        keys = jax.random.split(drawing, 4)
        seen = jax.vmap(brighter)(keys, episode.support.inputs)
        views = jm.Episode(episode.support, episode.support._replace(inputs=seen))
        grads = jax.grad(lambda p, v=views, n=noise: learner.loss(jm.Meta(p), v, n)[0])
        params = jax.tree.map(lambda p, g: p - RATE * g, params, grads(params))
    expected = jm.train.predictions(learner, jm.Meta(params), episode, KEY)
    got = jm.train.predictions(tester, meta, episode, KEY)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    none = transfer.tuned_at_test(learner, optax.sgd(RATE), steps=0, augment=brighter)
    np.testing.assert_array_equal(
        jm.train.predictions(none, meta, episode, KEY),
        jm.train.predictions(learner, meta, episode, KEY),
    )
    with pytest.raises(ValueError, match="steps: got -1"):
        transfer.tuned_at_test(learner, optax.sgd(RATE), steps=-1)


def shifted(key, image):
    return image + jax.random.uniform(key)


def test_several_views_are_the_mean_of_what_is_said_of_each():
    learner, episode = jm.protonet(NET), task()
    meta = wide(learner.init(KEY, episode))
    tester = transfer.several_views(learner, shifted, views=3, seed=5)
    added = [0.0, *(jax.random.uniform(k) for k in jax.random.split(jax.random.key(5)))]
    support, query = episode
    rows = [support._replace(inputs=support.inputs + a) for a in added]
    seen = jax.tree.map(lambda *x: jnp.concatenate(x), *rows)
    fast = learner.adapt(meta, seen, KEY)
    expected = np.mean(
        [learner.predict(meta, fast, query.inputs + a) for a in added], 0
    )
    got = jm.train.predictions(tester, meta, episode, KEY)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    alone = episode._replace(query=jax.tree.map(lambda x: x[1:2], query))
    np.testing.assert_allclose(  # a query is seen as it would be by itself
        jm.train.predictions(tester, meta, alone, KEY), expected[1:2], rtol=1e-10
    )
    one = transfer.several_views(learner, shifted, views=1)
    np.testing.assert_array_equal(
        jm.train.predictions(one, meta, episode, KEY),
        jm.train.predictions(learner, meta, episode, KEY),
    )
    with pytest.raises(ValueError, match="views: got 0"):
        transfer.several_views(learner, shifted, views=0)
