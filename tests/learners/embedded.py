"""What the tests of the metric learners share: a tiny encoder, a tiny task, padding."""

import jax
import jax.numpy as jnp

import jaxmeta as jm

TASK = jm.testing.probe(ways=3, shots=2, queries=2)


def linear() -> jm.Model:
    """Features are a linear map of the inputs: no batch statistics, no head."""

    def init(key, inputs):
        return jm.Meta({"w": jax.random.normal(key, (inputs.shape[-1], 5)) / 2})

    def apply(meta, inputs, *, train=False, key=None):
        return inputs @ meta.params["w"], meta.buffers

    return jm.Model(init, apply)


def episode(seed=0, task=TASK) -> jm.Episode:
    wide = jnp.zeros(()).dtype
    found = task(jax.random.key(seed))
    return jax.tree.map(lambda x: x.astype(wide), found)


def predict(learner, meta, episode, key=None):
    key = jax.random.key(3) if key is None else key
    return jm.train.predictions(learner, meta, episode, key)


def ready(learner, seed=0):
    """`(meta, episode)` for a learner."""
    task = episode(seed)
    return learner.init(jax.random.key(1), task), task
