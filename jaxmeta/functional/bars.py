"""A distribution over the real line as bars, the outer two with half-normal tails.

Müller, Hollmann, Pineda Arango, Grabocka, Hutter 2022, Transformers Can Do Bayesian
Inference, https://arxiv.org/abs/2112.10510, section 4.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.core import Array
from jaxmeta.shapes import Float

HALF = 0.6744897501960817  # half of a half-normal's mass is below this many scales


def check_borders(borders) -> None:
    """Refuses borders that do not rise, or are fewer than 4."""
    known = np.asarray(borders)
    if known.ndim != 1 or len(known) < 4 or not (np.diff(known) > 0).all():
        raise ValueError(
            f"borders: got shape {list(known.shape)}, wants [bars + 1] numbers that "
            "rise, 4 or more"
        )


def bar_log_prob(
    logits: Float[Array, "... b"],
    borders: Float[Array, " b+1"],
    values: Float[Array, "..."],
) -> Float[Array, "..."]:
    """Log-density of values under bars.

        log p(y) = log softmax(z)_b - log width_b,    y in bar b

    In the first and in the last bar the density is that of a half-normal whose half lies
    within the width of the bar.

    Args:
      logits: `[..., b]`.
      borders: `[b + 1]`, rising.
      values: `[...]`, anywhere.

    Returns:
      `[...]`, in nats.

    >>> borders = jnp.array([-1.0, 0.0, 1.0, 2.0])
    >>> round(float(bar_log_prob(jnp.zeros(3), borders, jnp.array(0.5))), 4)  # log 1/3
    -1.0986
    """
    bars = borders.shape[0] - 1
    widths = jnp.diff(borders)
    inner = jnp.searchsorted(borders[1:-1], values, side="right")
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), inner[..., None], -1)[
        ..., 0
    ]

    def tail(distance, width):
        scale = width / HALF
        return 0.5 * np.log(2 / np.pi) - jnp.log(scale) - 0.5 * (distance / scale) ** 2

    low = tail(borders[1] - values, widths[0])
    high = tail(values - borders[-2], widths[-1])
    flat = -jnp.log(widths)[inner]
    density = jnp.where(inner == 0, low, jnp.where(inner == bars - 1, high, flat))
    return log_p + density


def bar_masses(
    values: Float[Array, "..."], borders: Float[Array, " e"], scale: Array | float
) -> Float[Array, "... b"]:
    """How much of a normal distribution around each value lies in each bar.

        m_b = Phi((e_{b+1} - y) / s) - Phi((e_b - y) / s),    e_0 = -inf, e_B = inf

    Args:
      values: `[...]`, y.
      borders: `[b + 1]`, e.
      scale: s, the standard deviation.

    Returns:
      `[..., b]`, of sum 1.

    >>> bar_masses(jnp.array(9.0), jnp.array([-1.0, 0.0, 1.0, 2.0]), 0.1).tolist()
    [0.0, 0.0, 1.0]
    """
    below = jax.scipy.special.ndtr((borders[1:-1] - values[..., None]) / scale)
    ends = jnp.zeros_like(below[..., :1]), jnp.ones_like(below[..., :1])
    return jnp.diff(jnp.concatenate([ends[0], below, ends[1]], -1))


def bar_moments(
    logits: Float[Array, "... b"], borders: Float[Array, " b+1"]
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Mean and standard deviation of bars, tails included.

    Args:
      logits: `[..., b]`.
      borders: `[b + 1]`.

    Returns:
      Two arrays `[...]`.

    >>> mean, std = bar_moments(jnp.zeros(4), jnp.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    >>> round(float(mean), 4)
    0.0
    """
    p, widths = jax.nn.softmax(logits), jnp.diff(borders)
    centres = (borders[1:] + borders[:-1]) / 2
    spreads = widths**2 / 12
    scale = widths / HALF
    shift = scale * np.sqrt(2 / np.pi)
    centres = (
        centres.at[0].set(borders[1] - shift[0]).at[-1].set(borders[-2] + shift[-1])
    )
    ends = scale**2 * (1 - 2 / np.pi)
    spreads = spreads.at[0].set(ends[0]).at[-1].set(ends[-1])
    mean = p @ centres
    second = p @ (centres**2 + spreads)
    return mean, jnp.sqrt(jnp.maximum(second - mean**2, 0))


def bar_quantile(
    logits: Float[Array, "... b"], borders: Float[Array, " b+1"], level: float
) -> Float[Array, "..."]:
    """The value that a share `level` of the mass lies below; tails cut at 4 scales.

    Args:
      logits: `[..., b]`.
      borders: `[b + 1]`.
      level: in (0, 1).

    Returns:
      `[...]`.

    >>> borders = jnp.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    >>> round(float(bar_quantile(jnp.zeros(4), borders, 0.5)), 4)
    0.0
    """
    p, widths = jax.nn.softmax(logits), jnp.diff(borders)
    below = jnp.cumsum(p, -1)
    bar = jnp.sum(below < level, -1).clip(0, p.shape[-1] - 1)

    def at(x):
        return jnp.take_along_axis(x, bar[..., None], -1)[..., 0]

    share = ((level - at(below - p)) / jnp.maximum(at(p), 1e-12)).clip(0, 1)
    scale = widths / HALF

    def reach(s):  # of a half-normal: the distance that a share of it lies within
        return jnp.minimum(jax.scipy.special.ndtri(0.5 + 0.5 * s.clip(0, 0.99993)), 4.0)

    low = borders[1] - scale[0] * reach(1 - share)
    high = borders[-2] + scale[-1] * reach(share)
    flat = borders[bar] + share * widths[bar]
    return jnp.where(bar == 0, low, jnp.where(bar == len(widths) - 1, high, flat))
