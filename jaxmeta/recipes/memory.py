"""Methods of the learners that read a task as a sequence, and of the learned optimiser."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta import learners
from jaxmeta.core import MetaLearner
from jaxmeta.learners.mann import MemoryNetwork, instance_accuracy, memory_network
from jaxmeta.recipes.gradient import at_least_one
from jaxmeta.recipes.method import built, method, only_classes
from jaxmeta.recipes.parts import Method, Room, Side
from jaxmeta.report import Finished
from jaxmeta.runs.errors import ConfigError
from jaxmeta.tasks.names import as_partial

_SIDE_BY_SIDE = 8  # sequences at once; a longer list takes memory and little less time


@method(learners.mann)
def mann(room: Room, **more) -> Method:
    """Writes examples into a memory and recalls them; labels by sequence."""
    only_classes(room, "mann")
    network = memory_network(room.network(None), **more)
    return built(
        room,
        lambda side, steps: network.learner,
        head=True,
        together=True,
        measures=(instances(network),),
    )


def instances(network: MemoryNetwork) -> Callable[[Finished], dict[str, Any]]:
    """MANN's own measure: accuracy at the 1st, 2nd, ... example of a class.

    The test episodes again, each as one sequence: support and query in random order,
    every example predicted before its label is shown.
    """

    def measure(run: Finished) -> dict[str, list[float]]:
        @jax.jit
        def accuracies(meta, task, key):
            def one(t):
                sampling, ordering = jax.random.split(jax.random.fold_in(key, t))
                return instance_accuracy(network, meta, task(sampling), ordering)

            every = jnp.arange(run.episodes)
            return lax.map(one, every, batch_size=_SIDE_BY_SIDE).mean(0)

        # images are arguments of the program, tasks made on the fly are compiled in
        found = accuracies(run.meta, as_partial(run.test), run.key)
        return {"instances": [round(float(x), 5) for x in found]}

    return measure


@method(learners.snail, hide=("attention",))
def snail(room: Room, **more) -> Method:
    """Reads the support set as a sequence, by attention and causal convolution."""
    only_classes(room, "snail")
    learner = learners.snail(room.network(None), **more)
    # a label is part of its input, and has as many places as there are classes
    return built(room, lambda side, steps: learner, head=True)


@method(learners.lstm_meta_learner, hide=("input_bias", "gradient"))
def lstm_meta_learner(
    room: Room,
    *,
    inner_rate: float = 0.01,
    inner_steps: int = 12,
    eval_inner_steps: int | None = None,
    **more,
) -> Method:
    """Learns the optimiser, an LSTM for every weight, and where it starts.

    Args:
      inner_rate: the learning rate that its input gates start from, below 1.
    """
    if not 0 < inner_rate < 1:
        raise ConfigError("inner_rate", inner_rate, "between 0 and 1, as a gate is")
    middle = math.log(inner_rate / (1 - inner_rate))

    def make(side: Side, steps: int) -> MetaLearner:
        return learners.lstm_meta_learner(
            room.network(side.outputs),
            steps=at_least_one(steps),
            input_bias=(middle - 0.5, middle + 0.5),
            criterion=room.criterion,
            **more,
        )

    # what it has learned is good for its own number of steps: there is no curve
    steps = (inner_steps, eval_inner_steps)
    return built(room, make, steps=steps, head=True, at_steps=None)
