"""A task whose images are changed at random, inside the compiled program."""

from dataclasses import dataclass

import jax
from jax.tree_util import Partial

from jaxmeta.core import Array, Batch, Episode, Key, Task
from jaxmeta.functional.augment import Augment
from jaxmeta.tasks.inputs import unit_episode
from jaxmeta.tasks.names import as_partial, class_names, episode_classes


def augmented(
    task: Task,
    augment: Augment,
    *,
    support: bool = True,
    query: bool = True,
) -> Partial:
    """Applies an augmentation to every image of every episode, each with its own key.

    The episode itself is that of `task` with the same key.

    Args:
      task: the task, with inputs `[n, h, w, c]`.
      augment: `(key, image) -> image`, for instance `functional.augment.flip`, or
        several with `functional.augment.chain`.
      support: whether support images are changed.
      query: whether query images are.

    Returns:
      A task, `key -> Episode`.

    Example:
      >>> from jaxmeta.functional import augment
      >>> from jaxmeta.tasks import glyphs
      >>> task = augmented(glyphs(3, 1, 1, size=12), augment.flip, query=False)
      >>> task(jax.random.key(0)).support.inputs.shape
      (3, 12, 12, 1)
    """
    return Partial(_Augmented(augment, support, query), as_partial(task))


@dataclass(frozen=True)
class _Augmented:
    """The static half of a task, compared by value: an equal task is compiled once."""

    augment: Augment
    support: bool
    query: bool

    def __call__(self, task: Task, key: Key) -> Episode:
        episode = unit_episode(task(key))
        # a number no task folds in: what is drawn here is independent of the episode
        keys = jax.random.split(jax.random.fold_in(key, 2**32 - 1))

        def change(batch: Batch, key: Key) -> Batch:
            each = jax.random.split(key, len(batch.targets))
            return batch._replace(inputs=jax.vmap(self.augment)(each, batch.inputs))

        return Episode(
            change(episode.support, keys[0]) if self.support else episode.support,
            change(episode.query, keys[1]) if self.query else episode.query,
        )

    def class_names(self, task: Task) -> tuple[str, ...] | None:
        return class_names(task)

    def episode_classes(self, task: Task, key: Key) -> Array | None:
        return episode_classes(task, key)
