"""The outer optimiser of the command line."""

from collections.abc import Callable
from typing import Annotated, Literal

import optax

from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.options import Where

Optimiser = Literal["adam", "sgd"]
Schedule = Literal["constant", "cosine", "linear", "halving"]
Halves = Annotated[int, Where("schedule", "halving")]
"""Outer steps between halvings."""


def schedule_of(
    schedule: Schedule, rate: float, steps: int, halve_every: int
) -> optax.Schedule:
    """How the rate falls: not, by a half cosine to 0, linearly to 0, or by halves."""
    schedules: dict[str, Callable[[], optax.Schedule]] = {
        "constant": lambda: optax.constant_schedule(rate),
        "cosine": lambda: optax.cosine_decay_schedule(rate, steps),
        "linear": lambda: optax.linear_schedule(rate, 0.0, steps),
        "halving": lambda: optax.exponential_decay(
            rate, halve_every, 0.5, staircase=True
        ),
    }
    return schedules[schedule]()


def outer(
    optimiser: Optimiser,
    rate: float,
    schedule: Schedule,
    steps: int,
    halve_every: int,
    clip: float | None,
    split: Callable[..., optax.GradientTransformation] | None = None,
) -> optax.GradientTransformation:
    """Clipping, Adam or SGD, a falling rate.

    Args:
      optimiser: "adam" or "sgd".
      rate: its learning rate.
      schedule: how it falls.
      steps: outer steps.
      halve_every: outer steps between halvings.
      clip: largest global norm of the gradient; `None`: not clipped.
      split: `(tx, schedule of a rate) -> tx`, where one optimiser is not enough.
    """
    for name, value in (("rate", rate), ("clip", clip), ("halve_every", halve_every)):
        if value is not None and not 0 < value < float("inf"):
            raise ConfigError(name, value, "a finite number > 0")
    tx = {"adam": optax.adam, "sgd": optax.sgd}[optimiser](
        schedule_of(schedule, rate, steps, halve_every)
    )
    if split is not None:
        tx = split(tx, lambda own: schedule_of(schedule, own, steps, halve_every))
    return tx if clip is None else optax.chain(optax.clip_by_global_norm(clip), tx)
