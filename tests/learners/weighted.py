"""Two laws a learner's own tests may ask: weights are copies, two steps one program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from tests.learners.embedded import TASK, ready

WEIGHTS = np.array([1, 0, 2, 1, 3, 1.0])
KEPT = np.repeat(np.arange(6), WEIGHTS.astype(int))


def same_as_copies(learner: jm.MetaLearner, tolerance: float) -> None:
    """Support and query of six rows: one is NaN and of weight 0, two count more."""
    meta, task = ready(learner)

    def weighted(batch):
        inputs = batch.inputs.at[1].set(jnp.nan)
        return jm.Batch(inputs, batch.targets, jnp.asarray(WEIGHTS))

    def copied(batch):
        return jm.Batch(batch.inputs[KEPT], batch.targets[KEPT])

    @jax.jit
    def of(episode):
        (value, aux), grads = jax.value_and_grad(
            lambda p: learner.loss(meta._replace(params=p), episode, jax.random.key(0)),
            has_aux=True,
        )(meta.params)
        fast = learner.adapt(meta, episode.support, jax.random.key(0))
        return value, aux.metrics["accuracy"], grads, fast

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        *(of(jm.Episode(*map(way, task))) for way in (weighted, copied)),
    )


def traces_once(learner: jm.MetaLearner, dtype: str) -> None:
    """`step(step(state))` as a user builds it: nothing cast, nothing compiled again."""
    traces = 0
    with jax.enable_x64(dtype == "float64"):
        trainer = jm.make_trainer(jm.episodic(learner), optax.adam(1e-3))
        episodes = jax.vmap(TASK)(jax.random.split(jax.random.key(0), 2))

        @jax.jit
        def step(state, episodes, key):
            nonlocal traces
            traces += 1
            return trainer.step(state, episodes, key)

        state = trainer.init(jax.random.key(0), episodes)
        for i in range(3):
            state, _ = step(state, episodes, jax.random.key(i))
    assert traces == 1, f"compiled {traces} times"
