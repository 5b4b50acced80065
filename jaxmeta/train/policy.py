"""How many tasks to run side by side, by the platform that runs them."""

from collections.abc import Callable

import jax
from jax import lax
from jax.core import Tracer

from jaxmeta.core import Episode, PyTree

# Input values a task may have before it fills the machine on its own. Above it, a CPU
# runs tasks one after another: each convolution is then dense, and its activations stay
# in cache (measured, benchmarks/README.md).
CPU_TASK_ELEMENTS = 4096

# Input values side by side on anything else. A Conv4 of five second-order steps keeps
# some 700 bytes for each: 11 GB, whatever the number of tasks (measured, as above).
ELEMENTS = 2**24


def task_chunk(episodes: Episode, platform: str) -> int:
    """The number of tasks that are vmapped together, a divisor of how many there are.

    Args:
      episodes: an `Episode` with a leading task axis.
      platform: as JAX names it, "cpu" or any other.

    Returns:
      An integer from 1 to the number of tasks.
    """
    leaves = jax.tree.leaves((episodes.support.inputs, episodes.query.inputs))
    tasks = leaves[0].shape[0]
    elements = sum(x.size for x in leaves) // tasks
    if platform != "cpu":
        most = max(1, ELEMENTS // max(1, elements))
        return max(n for n in range(1, min(tasks, most) + 1) if tasks % n == 0)
    return 1 if elements > CPU_TASK_ELEMENTS else tasks


def in_chunks(
    run: Callable[..., PyTree],
    episodes: Episode,
    *args: PyTree,
    platform: str | None = None,
) -> PyTree:
    """`run(size, *args)`, with the chunk of the platform that it is lowered for.

    A process does not know that when it traces: a program may be compiled for a machine
    that is elsewhere, or moved to one.

    Args:
      run: `(size, *args) -> tree`, the same for every size.
      episodes: as in `task_chunk`.
      *args: what `run` takes beside the size.
      platform: of a mesh, which says it; `None`: both ways are traced, one is lowered.

    Returns:
      What `run` returns.
    """
    if platform is not None:
        return run(task_chunk(episodes, platform), *args)
    cpu, elsewhere = (task_chunk(episodes, name) for name in ("cpu", "elsewhere"))
    if cpu == elsewhere:
        return run(cpu, *args)
    return lax.platform_dependent(
        *args,
        cpu=lambda *args: run(cpu, *args),
        default=lambda *args: run(elsewhere, *args),
    )


def platform_of(tree: PyTree) -> str:
    """Where the first array of a tree lives, or what runs by default.

    >>> platform_of({"w": jax.numpy.ones(2)}) == jax.default_backend()
    True
    """
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer):
            return next(iter(leaf.devices())).platform
    return jax.default_backend()
