"""Which classes an episode is made of, and what they are called."""

from typing import Any, Protocol, TypeGuard

from jax.tree_util import Partial

from jaxmeta.core import Array, Key, Task
from jaxmeta.shapes import Int


class KnowsClasses(Protocol):
    """What the static half of a task offers, if its classes have names.

    The static half is the function of a `Partial`; both methods get the arguments that
    the `Partial` holds, as the function itself does.
    """

    def class_names(self, *held) -> tuple[str, ...] | None:
        """The names of all classes that the task can draw."""
        ...

    def episode_classes(self, *held_and_key) -> Array | None:
        """The classes of the episode of a key by number, `[ways]`, -1 for none."""
        ...


def as_partial(task: Task) -> Partial:
    """Any task as a pytree; one that is none has no leaves and is compared by identity.

    >>> as_partial(lambda key: key).args
    ()
    """
    return task if isinstance(task, Partial) else Partial(task)


def is_task(tasks: Any) -> TypeGuard[Task]:
    """Whether it is drawn from, and no sequence of episodes."""
    return callable(tasks)


def class_names(task: Task) -> tuple[str, ...] | None:
    """The names of the classes that a task draws from.

    Args:
      task: any task.

    Returns:
      The names, indexed by the numbers of `episode_classes`; `None` where classes have
      none: regression, characters that are invented, a function of one's own.

    >>> import jax
    >>> import numpy as np
    >>> from jaxmeta.data import from_counts
    >>> from jaxmeta.tasks import few_shot
    >>> data = from_counts(np.zeros((4, 2)), [2, 2], ("cat", "dog"))
    >>> class_names(few_shot(data, ways=2, shots=1, queries=1))
    ('cat', 'dog')
    """
    task = as_partial(task)
    found = getattr(task.func, "class_names", None)
    return None if found is None else found(*task.args, **task.keywords)


def episode_classes(task: Task, key: Key) -> Int[Array, " ways"] | None:
    """The classes of `task(key)`: which class each column of its targets stands for.

    Traceable by `jit` and `vmap`. Where a task has names, label j of the episode is
    `class_names(task)[episode_classes(task, key)[j]]`.

    Args:
      task: any task.
      key: what the task is called with.

    Returns:
      int32 `[ways]`, -1 for columns that are padding; `None` where `class_names` is.

    >>> import jax
    >>> import numpy as np
    >>> from jaxmeta.data import from_counts
    >>> from jaxmeta.tasks import few_shot
    >>> data = from_counts(np.zeros((4, 2)), [2, 2], ("cat", "dog"))
    >>> task = few_shot(data, ways=2, shots=1, queries=1)
    >>> sorted(episode_classes(task, jax.random.key(0)).tolist())
    [0, 1]
    """
    task = as_partial(task)
    if class_names(task) is None:
        return None
    return task.func.episode_classes(*task.args, key, **task.keywords)  # type: ignore
