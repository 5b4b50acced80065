"""What all of these pictures share: a training, a size, colours that light and dark pages bear."""

import io
from collections.abc import Callable
from typing import Any

import jax
import optax
from PIL import Image

import jaxmeta as jm
from jaxmeta.report.figures import Theme, png

THEME = Theme("#7d8590", "#a9afb8", "#2f7de1", "#d9720a", "#2f9f63", "#cc4d4d")
COLOURS = 48
"""Of a picture: few enough for a file of some kilobytes."""

Draw = Callable[[Any], None]
"""Draws on a Matplotlib figure."""


def picture(draw: Draw, size: tuple[float, float] = (6.0, 2.3)) -> bytes:
    """A PNG on a clear ground, in one palette."""
    made = png(lambda figure, _: draw(figure), THEME, size)
    small = Image.open(io.BytesIO(made)).quantize(COLOURS, Image.Quantize.FASTOCTREE)
    out = io.BytesIO()
    small.save(out, format="png", optimize=True)
    return out.getvalue()


def trained(
    learner: jm.MetaLearner,
    task: jm.Task,
    *,
    steps: int,
    batch: int = 16,
    tx: optax.GradientTransformation | None = None,
    rate: float = 3e-3,
    clip: float = 10.0,
    start: Callable[[jm.Meta], jm.Meta] = lambda meta: meta,
) -> tuple[jm.Meta, jm.Meta]:
    """The parameters before and after `steps` outer steps; the same ones every time.

    Args:
      learner: the method.
      task: what it is trained on.
      steps: outer steps.
      batch: tasks a step.
      tx: the outer optimiser; Adam that ends at a rate of 0 by default.
      rate: where that begins.
      clip: the longest gradient.
      start: what is made of the first parameters.
    """
    if tx is None:
        tx = optax.adam(optax.cosine_decay_schedule(rate, steps))
    tx = optax.chain(optax.clip_by_global_norm(clip), tx)
    trainer = jm.make_trainer(jm.episodic(learner), tx)

    @jax.jit
    def run(key):
        first = trainer.init(key, jm.train.sample_batch(task, key, 1))
        first = first._replace(meta=start(first.meta))
        done, _ = jm.fit(trainer, task, first, key, steps=steps, batch=batch)
        return first.meta, done.meta

    return run(jax.random.key(0))
