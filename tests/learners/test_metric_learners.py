"""Overfitting one episode, metric and gradient learners; changing the class count."""

import jax
import jax.numpy as jnp
import optax
import pytest

import jaxmeta as jm
from jaxmeta.learners import lrd2
from jaxmeta.models import mlp

METRIC = {
    "protonet": lambda: jm.protonet(mlp(None, hidden=(64,))),
    "protonet, cosine": lambda: jm.protonet(
        mlp(None, hidden=(64,)), normalise="l2", temperature=0.1
    ),
    "matching_network": lambda: jm.matching_network(mlp(None, hidden=(64,))),
    "matching_network, full context": lambda: jm.matching_network(
        mlp(None, hidden=(64,)), full_context=True
    ),
    "relation_network": lambda: jm.relation_network(
        mlp(None, hidden=(64,)), relation=jm.models.relation(hidden=256)
    ),
    "r2d2": lambda: jm.r2d2(mlp(None, hidden=(64,))),
    "lrd2": lambda: lrd2(mlp(None, hidden=(64,))),
    "metaoptnet": lambda: jm.metaoptnet(mlp(None, hidden=(64,)), iterations=50),
    "baseline_plus_plus": lambda: jm.baseline_plus_plus(
        mlp(None, hidden=(64,)), steps=10
    ),
    "simple_shot": lambda: jm.simple_shot(mlp(None, hidden=(64,)), temperature=0.1),
}


def net(outputs=5):
    return mlp(outputs, hidden=(64,))


SGD = optax.sgd(0.1)
GRADIENT = {
    "maml": lambda: jm.maml(net(), SGD, steps=2),
    "maml, first order": lambda: jm.maml(
        net(), SGD, steps=2, gradient=jm.gradients.first_order
    ),
    "anil": lambda: jm.anil(net(), SGD, steps=2),
    "boil": lambda: jm.boil(net(), SGD, steps=2),
    "meta_sgd": lambda: jm.meta_sgd(net(), init_rate=0.1, steps=2),
    "meta_curvature": lambda: jm.meta_curvature(net(), SGD, steps=2),
    "maml_plus_plus": lambda: jm.maml_plus_plus(net(), steps=2, init_rate=0.1),
    "cavia": lambda: jm.cavia(net(), optax.sgd(1.0), context=8, film="layer1", steps=2),
    "imaml": lambda: jm.imaml(net(), SGD, steps=4, lam=2.0),
    "proto_maml": lambda: jm.proto_maml(net(None), optax.sgd(0.01), steps=2),
    "lstm_meta_learner": lambda: jm.lstm_meta_learner(net(), steps=2, hidden=4),
    "reptile": lambda: jm.reptile(net(), SGD, steps=4),
}

# squared error against four times as many zeros as ones soon kills a faster module
RATE = {"relation_network": 2e-3}


def fixed_features(ways, shots, queries):
    """One episode of random 64-d features: nothing to understand, all to remember."""
    keys = jax.random.split(jax.random.key(0))

    def batch(key, each):
        labels = jnp.repeat(jnp.arange(ways), each)
        return jm.Batch(
            jax.random.normal(key, (ways * each, 64)), jax.nn.one_hot(labels, ways)
        )

    return jm.Episode(batch(keys[0], shots), batch(keys[1], queries))


@pytest.mark.parametrize("name", METRIC | GRADIENT)
def test_overfits_one_episode_in_20_updates(name):
    """Meta-Dataset's acceptance check: 5-way 1-shot, accuracy 1.0 after 20 updates."""
    learner = (METRIC | GRADIENT)[name]()
    episode = fixed_features(5, 1, 3)
    if name == "reptile":  # its queries teach nothing: it is asked what it was shown
        episode = episode._replace(query=episode.support)
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(RATE.get(name, 1e-2)))
    key = jax.random.key(1)

    @jax.jit
    def run(episode):
        batch = jax.tree.map(lambda x: x[None], episode)
        state = trainer.init(key, batch)
        state, _ = jm.fit(trainer, lambda _: episode, state, key, steps=20, batch=1)
        outputs = jm.train.predictions(learner, state.meta, episode, key)
        return jm.metrics.accuracy(outputs, episode.query.targets)

    assert run(episode) == 1.0


@pytest.mark.parametrize("name", METRIC)
def test_class_count_and_set_sizes_are_free(name):
    """Initialised and trained 20-way, it predicts 5-way with other shots, and its loss
    and gradient exist there too."""
    learner = METRIC[name]()
    big, small = fixed_features(20, 1, 1), fixed_features(5, 3, 2)

    def run(big, small):
        key = jax.random.key(0)
        meta = learner.init(key, big)
        slope = jax.grad(lambda p: learner.loss(meta._replace(params=p), big, key)[0])
        params = jax.tree.map(lambda p, g: p - 0.1 * g, meta.params, slope(meta.params))
        meta = meta._replace(params=params)
        fresh = learner.init(key, small)
        outputs = jm.train.predictions(learner, meta, small, key)
        return meta, fresh, outputs, learner.loss(meta, small, key)[0]

    meta, fresh, outputs, loss = jax.eval_shape(run, big, small)
    shapes = [jax.tree.map(jnp.shape, m) for m in (meta, fresh)]
    assert shapes[0] == shapes[1]  # nothing in Meta knows the number of classes
    assert outputs.shape == small.query.targets.shape and loss.shape == ()
