"""Sequences of tokens: a frozen encoder, and an adapter on it that is learned."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm

WORDS, LENGTH, WIDTH = 40, 6, 16


def sentences(classes=12, each=8):
    """Each class has favourite words; 0 is padding."""
    random = np.random.default_rng(0)
    favourites = random.integers(1, WORDS, (classes, 4)).repeat(each, axis=0)
    picks = random.integers(0, 4, (len(favourites), LENGTH))
    text = np.take_along_axis(favourites, picks, axis=1)
    text[np.arange(LENGTH) >= random.integers(3, LENGTH + 1, (len(text), 1))] = 0
    return text, np.repeat(np.arange(classes), each)


def encode(tokens):
    """A pretrained encoder: a table that no training touches; mean over real tokens."""
    table = jax.random.normal(jax.random.key(7), (WORDS, WIDTH))
    real = (tokens > 0)[..., None]
    return (table[tokens] * real).sum(1) / jnp.maximum(real.sum(1), 1)


def adapter(rank):
    """Features plus a product of two thin matrices, zero at the start: `Model`."""

    def init(key, tokens):
        down = jax.random.normal(key, (WIDTH, rank)) / WIDTH
        return jm.Meta({"down": down, "up": jnp.zeros((rank, WIDTH))}, None)

    def apply(meta, tokens, *, train=False, key=None):
        x = jax.lax.stop_gradient(encode(tokens))
        return x + x @ meta.params["down"] @ meta.params["up"], meta.buffers

    return jm.Model(init, apply)


def topics(*, ways: int = 3, shots: int = 2, rank: int = 2):
    """Topics of sentences: ridge regression on adapted features.

    Args:
      ways: classes in a task.
      shots: examples of each.
      rank: of the adapter.
    """
    parts = jm.data.split_classes(jm.data.from_labels(*sentences()))
    tasks = jm.runs.Tasks(*(jm.tasks.few_shot(p, ways, shots, 2) for p in parts))
    return jm.runs.Experiment(jm.r2d2(adapter(rank)), tasks, optax.adam(1e-2))
