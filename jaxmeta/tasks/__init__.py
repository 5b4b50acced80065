"""Distributions over tasks: `key -> Episode`, on device, traceable by `jax.jit`."""

from jaxmeta.tasks.few_shot import few_shot as few_shot
from jaxmeta.tasks.glyphs import glyphs as glyphs
from jaxmeta.tasks.sinusoid import sinusoid as sinusoid
