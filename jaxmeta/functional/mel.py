"""From a wave to its log-mel spectrogram: frames, a window, a spectrum, bands as heard.

Davis, Mermelstein 1980, https://doi.org/10.1109/TASSP.1980.1163420. The two mel scales:
O'Shaughnessy 1987 (HTK's), and Slaney 1998, Auditory Toolbox.
"""

import math
from typing import Literal

import jax.numpy as jnp
import numpy as np

from jaxmeta.checks import at_least, one_of, refusal
from jaxmeta.core import Array
from jaxmeta.shapes import Float, Num

Scale = Literal["htk", "slaney"]
BEND, BELOW = 1000.0, 15.0  # Slaney's scale is linear up to 1 kHz, which is 15 mel
STEP = math.log(6.4) / 27  # and above it 27 mel are a factor of 6.4


def frames(
    wave: Num[Array, "... samples"], *, size: int, hop: int
) -> Num[Array, "... frames size"]:
    """Cuts a wave into overlapping frames; what fills no whole frame at its end is left.

        x_{t, i} = w_{t hop + i},   t = 0 .. (samples - size) // hop

    Args:
      wave: `[..., samples]`.
      size: samples in a frame.
      hop: samples from one to the next.

    Returns:
      `[..., frames, size]`.

    Raises:
      ValueError: a number below 1, or a wave that is shorter than a frame.

    >>> frames(jnp.arange(6), size=4, hop=2).tolist()
    [[0, 1, 2, 3], [2, 3, 4, 5]]
    """
    at_least(1, size=size, hop=hop)
    samples = wave.shape[-1]
    if samples < size:
        raise refusal("wave", f"{samples} samples", f"{size} or more, a frame")
    first = hop * np.arange(1 + (samples - size) // hop)
    return wave[..., first[:, None] + np.arange(size)]


def power_spectrum(
    wave: Float[Array, "... samples"], *, size: int, hop: int
) -> Float[Array, "... frames bins"]:
    """Power of each frame at each frequency, under a periodic Hann window.

        S_{t, k} = |sum_i h_i x_{t, i} e^{-2 pi j k i / size}|^2
        h_i = (1 - cos(2 pi i / size)) / 2

    Args:
      wave: `[..., samples]`.
      size: samples in a frame.
      hop: samples from one to the next.

    Returns:
      `[..., frames, size // 2 + 1]`: frequencies `k rate / size`.

    Raises:
      ValueError: as of `frames`.

    >>> power_spectrum(jnp.ones(8), size=4, hop=4).tolist()
    [[4.0, 1.0, 0.0], [4.0, 1.0, 0.0]]
    """
    window = (1 - np.cos(2 * np.pi * np.arange(size) / size)) / 2
    spectrum = jnp.fft.rfft(
        frames(wave, size=size, hop=hop) * window.astype(wave.dtype)
    )
    return jnp.square(spectrum.real) + jnp.square(spectrum.imag)


def hertz_to_mel(hertz: np.ndarray | float, *, scale: Scale = "htk") -> np.ndarray:
    """Pitch as it is heard.

        htk:     m = 2595 log10(1 + f / 700)
        slaney:  m = 3 f / 200                              f < 1000
                 m = 15 + 27 ln(f / 1000) / ln 6.4          f >= 1000

    Args:
      hertz: frequencies, >= 0.
      scale: which of the two formulas.

    Returns:
      An array of the same shape.

    >>> hertz_to_mel(1000.0, scale="slaney").item()
    15.0
    """
    one_of(("htk", "slaney"), scale=scale)
    f = np.asarray(hertz, np.float64)
    if scale == "htk":
        return 2595 * np.log10(1 + f / 700)
    return np.where(
        f < BEND, f * BELOW / BEND, BELOW + np.log(np.maximum(f, BEND) / BEND) / STEP
    )


def mel_to_hertz(mel: np.ndarray | float, *, scale: Scale = "htk") -> np.ndarray:
    """The inverse of `hertz_to_mel`.

    Args:
      mel: pitches, >= 0.
      scale: which of the two formulas.

    Returns:
      An array of the same shape.

    >>> round(mel_to_hertz(hertz_to_mel(440.0)).item(), 6)
    440.0
    """
    one_of(("htk", "slaney"), scale=scale)
    m = np.asarray(mel, np.float64)
    if scale == "htk":
        return 700 * (10 ** (m / 2595) - 1)
    above = BEND * np.exp(STEP * (np.maximum(m, BELOW) - BELOW))
    return np.where(m < BELOW, m * BEND / BELOW, above)


def mel_filters(
    bands: int,
    *,
    size: int,
    rate: float,
    low: float = 0.0,
    high: float | None = None,
    scale: Scale = "htk",
    area: bool = False,
) -> np.ndarray:
    """Triangles over the frequencies of a spectrum, evenly spaced as they are heard.

        H_{b, k} = max(0, min((f_k - p_b) / (p_{b+1} - p_b),
                              (p_{b+2} - f_k) / (p_{b+2} - p_{b+1})))

    with `f_k = k rate / size` and `p_0 .. p_{bands + 1}` equal steps of mel from low to
    high.

    Args:
      bands: how many.
      size: samples in a frame.
      rate: samples in a second.
      low: hertz where the first begins.
      high: hertz where the last ends; `None`: half of the rate.
      scale: which formula of a mel.
      area: divide each by half of its width, `(p_{b+2} - p_b) / 2`, so that all have the
        same area, as Slaney's have; else each has a peak of 1, as HTK's have.

    Returns:
      float64 `[bands, size // 2 + 1]`.

    Raises:
      ValueError: frequencies out of order, or a band so narrow that none of the spectrum
        is in it.

    >>> mel_filters(2, size=8, rate=8000.0).round(2).tolist()
    [[0.0, 0.68, 0.0, 0.0, 0.0], [0.0, 0.32, 0.91, 0.45, 0.0]]
    """
    at_least(1, bands=bands)
    high = rate / 2 if high is None else high
    if not 0 <= low < high <= rate / 2:
        raise refusal(
            "low, high", f"{low:g} to {high:g} Hz", f"0 <= low < high <= {rate / 2:g}"
        )
    ends = hertz_to_mel(np.array([low, high]), scale=scale)
    p = mel_to_hertz(np.linspace(ends[0], ends[1], bands + 2), scale=scale)
    f = np.arange(size // 2 + 1) * rate / size
    rise = (f - p[:-2, None]) / (p[1:-1] - p[:-2])[:, None]
    fall = (p[2:, None] - f) / (p[2:] - p[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rise, fall))
    empty = int((filters.max(1) == 0).sum())
    if empty:
        wants = f"fewer, or longer frames: {empty} have no frequency of the spectrum"
        raise refusal("bands", bands, wants)
    return filters * (2 / (p[2:] - p[:-2]))[:, None] if area else filters


def log_mel(
    wave: Float[Array, "... samples"],
    *,
    rate: float,
    size: int,
    hop: int,
    bands: int,
    low: float = 0.0,
    high: float | None = None,
    scale: Scale = "htk",
    area: bool = False,
    floor: float = 1e-10,
) -> Float[Array, "... bands frames"]:
    """The logarithm of what each band hears in each frame.

        L_{b, t} = ln max(sum_k H_{b, k} S_{t, k}, floor)

    Args:
      wave: `[..., samples]`, in [-1, 1].
      rate: samples in a second.
      size: samples in a frame; 25 to 32 ms is usual for speech.
      hop: samples from one to the next; 10 to 16 ms.
      bands: how many; 23 to 80.
      low: hertz where the first band begins.
      high: hertz where the last ends; `None`: half of the rate.
      scale: which formula of a mel, see `hertz_to_mel`.
      area: whether bands have the same area, see `mel_filters`.
      floor: the least power, > 0.

    Returns:
      `[..., bands, frames]`, the lowest band first.

    Raises:
      ValueError: as of `frames` and `mel_filters`.

    References:
      Davis, Mermelstein 1980.

    >>> log_mel(jnp.ones(800), rate=8000.0, size=256, hop=128, bands=20).shape
    (20, 5)
    """
    filters = mel_filters(
        bands, size=size, rate=rate, low=low, high=high, scale=scale, area=area
    )
    power = power_spectrum(wave, size=size, hop=hop)
    heard = jnp.asarray(filters, power.dtype) @ jnp.swapaxes(power, -1, -2)
    return jnp.log(jnp.maximum(heard, floor))


def relative_levels(
    log_power: Float[Array, "... bands frames"], *, decibels: float = 60.0
) -> Float[Array, "... bands frames"]:
    """Levels below the loudest of the recording, in [0, 1]: how loud it was is forgotten.

        y = max(0, 1 + (L - max L) 10 / (ln 10 decibels))

    Args:
      log_power: `[..., bands, frames]`, natural logarithms.
      decibels: how far below the loudest 0 is.

    Returns:
      An array of the same shape.

    >>> relative_levels(jnp.log(jnp.array([[1.0, 1e-3, 1e-9]]))).round(3).tolist()
    [[1.0, 0.5, 0.0]]
    """
    loudest = log_power.max((-1, -2), keepdims=True)
    scale = 10 / (math.log(10) * decibels)
    return jnp.maximum(0, 1 + scale * (log_power - loudest))
