"""Invented characters look like writing and are as hard as writing is for pixels."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.tasks import glyphs


def pixel_accuracy(key):
    """The nearest support drawing by the cosine of raw pixels, 5-way 1-shot."""
    support, query = glyphs(5, 1, 5)(key)
    s, q = support.inputs.reshape(5, -1), query.inputs.reshape(25, -1)
    near = q @ (s / jnp.linalg.norm(s, axis=1, keepdims=True)).T
    return jnp.mean(near.argmax(1) == query.targets.argmax(1))


def test_pixels_alone_get_about_half_right():
    keys = jax.random.split(jax.random.key(0), 400)
    scores = np.asarray(jax.jit(jax.vmap(pixel_accuracy))(keys))
    half_width = 1.96 * scores.std(ddof=1) / np.sqrt(len(scores))
    # Omniglot's test characters give 0.477 +- 0.008 for the same rule.
    assert 0.45 + half_width < scores.mean() < 0.60 - half_width


def test_drawings_are_ink_on_paper():
    size = 20
    episode = jax.jit(glyphs(20, 1, 4, size=size))(jax.random.key(1))
    x = np.concatenate([episode.support.inputs, episode.query.inputs])
    assert x.shape == (100, size, size, 1) and x.dtype == np.float32
    assert np.isfinite(x).all() and x.min() == 0 and x.max() == 1
    assert 0.06 < x.mean() < 0.11  # Omniglot: 0.082
    assert (x.max(axis=(1, 2, 3)) > 0.5).all(), "an empty drawing"
    assert len({image.tobytes() for image in x}) == 100, "a drawing twice"
