"""Distributions over tasks: `key -> Episode`, on device, traceable by `jax.jit`."""

from .few_shot import few_shot as few_shot
from .glyphs import glyphs as glyphs
from .sinusoid import sinusoid as sinusoid
