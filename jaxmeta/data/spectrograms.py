"""Waves as the pictures that a network hears: log-mel, relative to the loudest."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.core import Array
from jaxmeta.data.errors import DataError
from jaxmeta.functional.mel import Scale, log_mel, relative_levels

TOGETHER = 250  # recordings at a time: their frames overlap and take twice their memory


def spectrograms(
    waves: np.ndarray,
    *,
    rate: int,
    bands: int = 32,
    frame: float = 0.032,
    hop: float = 0.025,
    low: float = 60.0,
    scale: Scale = "htk",
    decibels: float = 60.0,
) -> np.ndarray:
    """Makes log-mel spectrograms of recordings, `relative_levels(log_mel(waves))`.

    Args:
      waves: float32 `[n, samples]` from `load_waves`.
      rate: samples in a second.
      bands: mel bands.
      frame: seconds of a frame.
      hop: seconds from one frame to the next.
      low: hertz where the first band begins; the last ends at half of the rate.
      scale: which formula of a mel: "htk" or "slaney".
      decibels: what is further below the loudest is 0.

    Returns:
      float32 `[n, bands, frames, 1]` in [0, 1], the lowest band first.

    Raises:
      DataError: bands, frames or frequencies that do not fit the rate.

    >>> spectrograms(np.ones((2, 8000), np.float32), rate=8000).shape
    (2, 32, 39, 1)
    """
    options = dict(
        rate=float(rate), size=round(frame * rate), hop=round(hop * rate), bands=bands,
        low=low, scale=scale,
    )  # fmt: skip
    out = []
    try:
        for start in range(0, max(len(waves), 1), TOGETHER):
            part = jnp.asarray(waves[start : start + TOGETHER])
            out.append(np.asarray(_heard(part, decibels, tuple(options.items()))))
    except ValueError as error:
        raise DataError(f"spectrograms: {error}") from None
    return np.concatenate(out)[..., None]


@functools.partial(jax.jit, static_argnums=2)
def _heard(waves: Array, decibels: float, options: tuple) -> Array:
    return relative_levels(log_mel(waves, **dict(options)), decibels=decibels)
