"""Several distributions over tasks as one."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.core import Episode, Key, Task


def mixture(tasks: Sequence[Task], weights: Sequence[float] | None = None) -> Partial:
    """Draws a source for each episode, then an episode of it.

    Args:
      tasks: sources whose episodes have the same shapes and types. `meta_dataset` with
        equal bounds has, whatever the data.
      weights: how often each is drawn, in proportion; by default all equally often.

    Returns:
      A task, `key -> Episode`.

    Raises:
      ValueError: no source, weights that do not fit, or episodes that differ in shape.

    Example:
      >>> import jaxmeta as jm
      >>> task = mixture([jm.tasks.sinusoid(5), jm.tasks.sinusoid(5)], [3, 1])
      >>> task(jax.random.key(0)).support.inputs.shape
      (5, 1)
    """
    if not tasks:
        raise ValueError("tasks must be one or more, got none")
    weights = np.ones(len(tasks)) if weights is None else np.asarray(weights, float)
    if weights.shape != (len(tasks),) or not (weights >= 0).all() or not weights.sum():
        raise ValueError(
            f"weights must be {len(tasks)} numbers >= 0, one a task, got {weights}"
        )
    key = jax.eval_shape(lambda: jax.random.key(0))
    first, *others = (jax.eval_shape(task, key) for task in tasks)
    for i, other in enumerate(others, 1):
        if not jax.tree.all(jax.tree.map(operator.eq, first, other)):
            raise ValueError(f"tasks must agree in shape: 0 gives {first}, {i} {other}")
    logits = jnp.log(jnp.asarray(weights / weights.sum(), jnp.float32))
    return Partial(
        _Mixture(),
        logits,
        *(t if isinstance(t, Partial) else Partial(t) for t in tasks),
    )


@dataclass(frozen=True)
class _Mixture:
    """The static half of a task, compared by value: an equal task is compiled once."""

    def __call__(self, logits: jax.Array, *rest) -> Episode:
        *tasks, key = rest
        which_key, key = jax.random.split(key)
        which = jax.random.categorical(which_key, logits)
        return jax.lax.switch(which, [_draw(task) for task in tasks], key)


def _draw(task: Task):
    """A function of the key alone, for `switch`."""

    def draw(key: Key) -> Episode:
        return task(key)

    return draw
