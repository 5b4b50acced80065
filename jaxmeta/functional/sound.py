"""Augmentation of sound as functions of a key: waves, and spectrograms in time and pitch.

A wave is `[samples]`; a spectrogram is `[bands, frames, 1]`, the lowest band first, in
[0, 1] as `relative_levels` makes it. Each function keeps the shape; `jax.vmap` over keys
makes a batch.
"""

import jax
import jax.numpy as jnp

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Key
from jaxmeta.shapes import Float


def time_mask(
    key: Key, image: Float[Array, "bands frames 1"], *, width: int = 8, masks: int = 1
) -> Float[Array, "bands frames 1"]:
    """Silences runs of frames, each of a random length up to `width` (SpecAugment).

        w ~ uniform{0 .. width},   t0 ~ uniform{0 .. frames - w},   x[:, t0 : t0 + w] = 0

    Args:
      key: a random key.
      image: `[bands, frames, 1]`.
      width: the longest run; at most all frames.
      masks: how many runs.

    Returns:
      `[bands, frames, 1]`.

    References:
      Park et al. 2019, SpecAugment, https://arxiv.org/abs/1904.08779.

    >>> time_mask(jax.random.key(0), jnp.ones((4, 9, 1)), width=0).min().item()
    1.0
    """
    return image * _kept(key, image.shape[1], width, masks)[None, :, None]


def frequency_mask(
    key: Key, image: Float[Array, "bands frames 1"], *, width: int = 6, masks: int = 1
) -> Float[Array, "bands frames 1"]:
    """Silences runs of bands, each of a random number up to `width` (SpecAugment).

        w ~ uniform{0 .. width},   b0 ~ uniform{0 .. bands - w},   x[b0 : b0 + w] = 0

    Args:
      key: a random key.
      image: `[bands, frames, 1]`.
      width: the most bands of a run; at most all.
      masks: how many runs.

    Returns:
      `[bands, frames, 1]`.

    References:
      Park et al. 2019, SpecAugment, https://arxiv.org/abs/1904.08779.

    >>> frequency_mask(jax.random.key(0), jnp.ones((4, 9, 1)), width=0).min().item()
    1.0
    """
    return image * _kept(key, image.shape[0], width, masks)[:, None, None]


def time_shift(
    key: Key, image: Float[Array, "bands frames 1"], *, most: int = 6
) -> Float[Array, "bands frames 1"]:
    """Moves a spectrogram by up to `most` frames to either side; silence follows.

    Args:
      key: a random key.
      image: `[bands, frames, 1]`.
      most: frames, at most.

    Returns:
      `[bands, frames, 1]`.

    >>> time_shift(jax.random.key(0), jnp.ones((4, 9, 1)), most=0).min().item()
    1.0
    """
    at_least(0, most=most)
    padded = jnp.pad(image, ((0, 0), (most, most), (0, 0)))
    start = jax.random.randint(key, (), 0, 2 * most + 1)
    return jax.lax.dynamic_slice_in_dim(padded, start, image.shape[1], axis=1)


def pace(
    key: Key, image: Float[Array, "bands frames 1"], *, most: float = 0.15
) -> Float[Array, "bands frames 1"]:
    """Says it faster or slower about the middle of the recording, linear between frames.

        y(t) = x(c + e^u (t - c)),   u ~ uniform(-most, most)

    Args:
      key: a random key.
      image: `[bands, frames, 1]`.
      most: the largest u, >= 0.

    Returns:
      `[bands, frames, 1]`; silence comes from outside.

    >>> pace(jax.random.key(0), jnp.ones((2, 5, 1)), most=0.0).min().item()
    1.0
    """
    u = jax.random.uniform(key, minval=-most, maxval=most)
    centre = (image.shape[1] - 1) / 2
    return _read(image, centre + jnp.exp(u) * (jnp.arange(image.shape[1]) - centre), 1)


def other_voice(
    key: Key, image: Float[Array, "bands frames 1"], *, most: float = 0.12
) -> Float[Array, "bands frames 1"]:
    """Stretches pitch, as a longer or shorter vocal tract does, linear between bands.

        y(b) = x(e^u b),   u ~ uniform(-most, most)

    Bands are steps of mel, so that this is the warp of Jaitly and Hinton along the mel
    axis. With the same key for all recordings of a speaker, the speaker is another one.

    Args:
      key: a random key.
      image: `[bands, frames, 1]`.
      most: the largest u, >= 0.

    Returns:
      `[bands, frames, 1]`; silence comes from above the highest band.

    References:
      Jaitly, Hinton 2013, Vocal Tract Length Perturbation (ICML workshop).

    >>> other_voice(jax.random.key(0), jnp.ones((5, 2, 1)), most=0.0).min().item()
    1.0
    """
    u = jax.random.uniform(key, minval=-most, maxval=most)
    return _read(image, jnp.exp(u) * jnp.arange(image.shape[0]), 0)


def backwards(
    key: Key, image: Float[Array, "bands frames 1"], *, probability: float = 0.5
) -> Float[Array, "bands frames 1"]:
    """Turns time around, with a probability: a word that is said backwards is another.

    Args:
      key: a random key; the same for all recordings of a word.
      image: `[bands, frames, 1]`.
      probability: of turning.

    Returns:
      `[bands, frames, 1]`.

    >>> wave = jnp.arange(3.0).reshape(1, 3, 1)
    >>> backwards(jax.random.key(0), wave, probability=1.0).ravel().tolist()
    [2.0, 1.0, 0.0]
    """
    return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)


def gain(
    key: Key, wave: Float[Array, " samples"], *, decibels: float = 6.0
) -> Float[Array, " samples"]:
    """Makes a wave louder or softer.

        y = 10^(g / 20) x,   g ~ uniform(-decibels, decibels)

    Args:
      key: a random key.
      wave: `[samples]`.
      decibels: the largest change.

    Returns:
      `[samples]`.

    >>> gain(jax.random.key(0), jnp.ones(2), decibels=0.0).tolist()
    [1.0, 1.0]
    """
    g = jax.random.uniform(key, (), wave.dtype, -decibels, decibels)
    return 10 ** (g / 20) * wave


def noise(
    key: Key, wave: Float[Array, " samples"], *, decibels: float = 20.0
) -> Float[Array, " samples"]:
    """Adds white noise, so many decibels below the wave.

        y = x + 10^(-decibels / 20) sqrt(mean x^2) n,   n ~ normal(0, 1)

    Args:
      key: a random key.
      wave: `[samples]`.
      decibels: signal to noise.

    Returns:
      `[samples]`.

    >>> noise(jax.random.key(0), jnp.zeros(2)).tolist()
    [0.0, 0.0]
    """
    level = 10 ** (-decibels / 20) * jnp.sqrt(jnp.square(wave).mean(-1, keepdims=True))
    return wave + level * jax.random.normal(key, wave.shape, wave.dtype)


def _kept(key: Key, length: int, width: int, masks: int) -> Array:
    """`[length]`: 0 where one of the masks lies, else 1."""
    at_least(0, width=width, masks=masks)
    width_key, start_key = jax.random.split(key)
    widths = jax.random.randint(width_key, (masks,), 0, min(width, length) + 1)
    starts = jax.random.randint(start_key, (masks,), 0, length - widths + 1)
    at = jnp.arange(length)
    masked = (at >= starts[:, None]) & (at < (starts + widths)[:, None])
    return jnp.where(masked.any(0), 0.0, 1.0)


def _read(image: Array, where: Array, axis: int) -> Array:
    """The rows or columns of an image at places between them; 0 outside of it."""
    x = jnp.moveaxis(image, axis, 0)
    below = jnp.floor(where).astype(jnp.int32)
    share = (where - below).astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))

    def at(i):
        there = (i >= 0) & (i < len(x))
        there = there.reshape(-1, *[1] * (x.ndim - 1))
        return jnp.where(there, x[jnp.clip(i, 0, len(x) - 1)], 0)

    # the last row has no next one: where nothing of it is wanted, nothing is lost
    read = (1 - share) * at(below) + jnp.where(share > 0, share * at(below + 1), 0)
    return jnp.moveaxis(read, 0, axis).astype(image.dtype)
