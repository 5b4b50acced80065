"""How many tasks to run side by side."""

import jax

from jaxmeta.core import Episode

# Input values a task may have before it fills the machine on its own. Above it, a CPU
# runs tasks one after another: each convolution is then dense, and its activations stay
# in cache (measured, benchmarks/README.md).
CPU_TASK_ELEMENTS = 4096

# Input values side by side on anything else. A Conv4 of five second-order steps keeps
# some 700 bytes for each: 11 GB, whatever the number of tasks (measured, as above).
ELEMENTS = 2**24


def task_chunk(episodes: Episode) -> int:
    """The number of tasks that are vmapped together, a divisor of how many there are.

    Args:
      episodes: an `Episode` with a leading task axis.

    Returns:
      An integer from 1 to the number of tasks.
    """
    leaves = jax.tree.leaves((episodes.support.inputs, episodes.query.inputs))
    tasks = leaves[0].shape[0]
    elements = sum(x.size for x in leaves) // tasks
    if jax.default_backend() != "cpu":
        most = max(1, ELEMENTS // max(1, elements))
        return max(n for n in range(1, min(tasks, most) + 1) if tasks % n == 0)
    return 1 if elements > CPU_TASK_ELEMENTS else tasks
