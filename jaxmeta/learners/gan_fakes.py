"""What MetaGAN's generator makes up for a task: a set encoder, noise, a network."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Key, Meta, Model
from jaxmeta.learners.gan_bases import pooled
from jaxmeta.losses import weighted_mean
from jaxmeta.models.call import call
from jaxmeta.models.conv4 import conv4
from jaxmeta.models.generator import generator as generator_model
from jaxmeta.tasks.semi import labelled


class Noise(NamedTuple):
    """All that is drawn for the fakes of a task.

    Attributes:
      z: `[fakes, latent]`.
      encoding: the key of the set encoder, for its dropout.
      making: the key of the generator.
    """

    z: Array
    encoding: Key
    making: Key


class Faker(NamedTuple):
    """A generator and the set encoder that tells it of the task.

    Attributes:
      init: `(key, key, inputs) -> Meta`, of `{"encoder", "generator"}`.
      draw: `(support, key) -> Noise`.
      examples: `(meta, support, noise) -> [fakes, ...]`, as the task's examples are.
    """

    init: Callable[..., Meta]
    draw: Callable[..., Noise]
    examples: Callable[..., Array]


def faker(
    generator: Model | None, encoder: Model | None, *, latent: int, fakes: int
) -> Faker:
    """The three functions, for the options of `meta_gan`.

    fake = G(z, h),   h = mean_{i in S} E(x_i),   z ~ N(0, I)
    """
    encode = encoder or conv4(None, filters=16, downsample="stride", norm=None)

    def made_by(inputs: Array) -> Model:
        if generator is not None:
            return generator
        if inputs.ndim != 4:
            raise ValueError(
                f"generator: got None, wants a model for inputs of shape {inputs.shape}"
            )
        return generator_model(inputs.shape[1], inputs.shape[3])

    def init(encoding, making, inputs):
        code = encode.init(encoding, inputs)
        found = jax.eval_shape(lambda: encode.apply(code, inputs)[0])
        width = math.prod(found.shape[1:])
        like = jnp.zeros((fakes, latent + width), found.dtype)
        maker = made_by(inputs).init(making, like)
        both = zip(code, maker, strict=True)
        return Meta(*({"encoder": a, "generator": b} for a, b in both))

    def draw(support, key):
        drawing, *keys = jax.random.split(key, 3)
        dtype = labelled(support.inputs).dtype
        return Noise(jax.random.normal(drawing, (fakes, latent), dtype), *keys)

    def examples(meta, support, noise):
        # the same noise for all who look: the keys are used again on purpose
        encoding, making = map(jax.random.clone, noise[1:])
        inputs, weights = pooled(support)
        found, _ = call(
            encode,
            part(meta, "encoder"),
            inputs,
            weights=weights,
            train=True,
            key=encoding,
        )
        h = weighted_mean(found.reshape(found.shape[0], -1), weights)
        code = jnp.concatenate([noise.z, jnp.broadcast_to(h, (fakes, *h.shape))], -1)
        images, _ = call(
            made_by(inputs), part(meta, "generator"), code, train=True, key=making
        )
        return images.reshape(fakes, *inputs.shape[1:])

    return Faker(init, draw, examples)


def part(meta: Meta, name: str) -> Meta:
    """One network of several in a `Meta`."""
    return Meta(meta.params[name], meta.buffers[name])
