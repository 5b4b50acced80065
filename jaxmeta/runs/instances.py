"""MANN's own measure: accuracy at the 1st, 2nd, ... example of a class in a sequence."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial

from jaxmeta.core import Meta
from jaxmeta.learners.mann import instance_accuracy
from jaxmeta.runs import keys, loop
from jaxmeta.runs.build import Job
from jaxmeta.runs.methods import make_mann, make_net


def instances(job: Job, meta: Meta) -> dict[str, list[float]]:
    """What result.json holds of a learner that sees a sequence.

    The test episodes again, each as one sequence: support and query in random order,
    every example predicted before its label is shown.

    Args:
      job: what was trained.
      meta: its parameters.

    Returns:
      `{"instances": [...]}`, mean accuracies at the first to the last example of a
      class; nothing for other learners.
    """
    recipe = job.recipe
    if recipe.learner != "mann":
        return {}
    network = make_mann(make_net(recipe), recipe)

    @jax.jit
    def run(meta, task, episodes):
        def one(key):
            sampling, ordering = jax.random.split(key)
            return instance_accuracy(network, meta, task(sampling), ordering)

        size = loop.side_by_side(job, recipe.episodes)
        return lax.map(one, episodes, batch_size=size).mean(0)

    fold = jax.vmap(lambda t: jax.random.fold_in(keys.test(), t))
    # images are arguments of the program, tasks made on the fly are compiled in
    task = job.tasks.test
    task = task if isinstance(task, Partial) else Partial(task)
    found = run(meta, task, fold(jnp.arange(recipe.episodes)))
    return {"instances": [round(float(x), 5) for x in found]}
