"""Several distributions over tasks as one."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.checks import refusal
from jaxmeta.core import Array, Episode, Key, Task
from jaxmeta.functional.rows import weights_of
from jaxmeta.tasks.inputs import unit_episode
from jaxmeta.tasks.names import as_partial, class_names, episode_classes
from jaxmeta.tree import path_name


def mixture(tasks: Sequence[Task], weights: Sequence[float] | None = None) -> Partial:
    """Draws a source for each episode, then an episode of it.

    Sources with and without weights of rows mix: where one has them, the others get
    ones. Class names are those of all sources, where all have some; a name that two of
    them share is one class.

    Args:
      tasks: sources whose episodes have the same shapes and types. `meta_dataset` with
        equal bounds has, whatever the data; `padded` makes them of others.
      weights: how often each is drawn, in proportion; by default all equally often.

    Returns:
      A task, `key -> Episode`.

    Raises:
      ValueError: no source, weights that do not fit, or episodes that differ in shape
        or type.

    Example:
      >>> import jaxmeta as jm
      >>> task = mixture([jm.tasks.sinusoid(5), jm.tasks.sinusoid(5)], [3, 1])
      >>> task(jax.random.key(0)).support.inputs.shape
      (5, 1)
    """
    if not tasks:
        raise refusal("tasks", "none", "one or more")
    shares = np.ones(len(tasks)) if weights is None else np.asarray(weights, float)
    fit = shares.shape == (len(tasks),) and np.isfinite(shares).all()
    if not fit or not (shares >= 0).all() or not shares.sum():
        raise refusal("weights", weights, f"{len(tasks)} numbers >= 0, one a task")
    held = [as_partial(task) for task in tasks]
    key = jax.eval_shape(lambda: jax.random.key(0))
    shapes = [jax.eval_shape(task, key) for task in held]
    support, query = (
        any(part.weights is not None for part in parts)
        for parts in zip(*shapes, strict=True)
    )
    sampler = _Mixture((support, query))
    drawn = [jax.eval_shape(sampler.one, task, key) for task in held]
    for i, other in enumerate(drawn[1:], 1):
        _check_alike(drawn[0], other, i)
    logits = jnp.log(jnp.asarray(shares / shares.sum(), jnp.float32))
    return Partial(sampler, logits, *held)


def _check_alike(first: Episode, other: Episode, i: int) -> None:
    """Names the first leaf in which the episodes of task `i` differ from those of 0."""
    wants = (
        "the same shapes and types of all: `padded` fills up rows and columns, and a "
        "function around a task casts"
    )
    if jax.tree.structure(first) != jax.tree.structure(other):
        raise refusal("tasks", f"inputs of another structure from task {i}", wants)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(first), jax.tree.leaves(other), strict=True
    ):
        if (a.shape, a.dtype) != (b.shape, b.dtype):
            got = [f"{x.dtype}{list(x.shape)}" for x in (a, b)]
            raise refusal(
                "tasks",
                f"{path_name(path)} {got[0]} from task 0 and {got[1]} from task {i}",
                wants,
            )


@dataclass(frozen=True)
class _Mixture:
    """The static half of a task, compared by value: an equal task is compiled once."""

    weighted: tuple[bool, bool]  # support and query

    def __call__(self, logits: Array, *rest) -> Episode:
        *tasks, key = rest
        which, key = _source(logits, key)
        return jax.lax.switch(which, [_of_key(self.one, task) for task in tasks], key)

    def one(self, task: Task, key: Key) -> Episode:
        """An episode of one source, as all sources give theirs."""
        parts = zip(unit_episode(task(key)), self.weighted, strict=True)
        return Episode(
            *(
                part._replace(weights=weights_of(part))
                if some and part.weights is None
                else part
                for part, some in parts
            )
        )

    def class_names(self, logits: Array, *tasks: Task) -> tuple[str, ...] | None:
        return _all_names(tasks)

    def episode_classes(self, logits: Array, *rest) -> Array:
        *tasks, key = rest
        names = _all_names(tasks) or ()
        number = {name: i for i, name in enumerate(names)}

        def classes(task: Task, key: Key) -> Array:
            of_mixture = [number[name] for name in class_names(task) or ()]
            found = jnp.asarray(episode_classes(task, key))
            of_mixture = jnp.asarray(of_mixture, jnp.int32)
            return jnp.where(found < 0, -1, of_mixture[found])

        which, key = _source(logits, key)
        return jax.lax.switch(which, [_of_key(classes, task) for task in tasks], key)


def _source(logits: Array, key: Key) -> tuple[Array, Key]:
    """Which source the episode of a key is of, and its key there."""
    which_key, key = jax.random.split(key)
    return jax.random.categorical(which_key, logits), key


def _all_names(tasks: Sequence[Task]) -> tuple[str, ...] | None:
    """The names of all sources, each once, in the order of their first appearance."""
    names = [class_names(task) for task in tasks]
    if any(n is None for n in names):
        return None
    return tuple(dict.fromkeys(name for some in names for name in some or ()))


def _of_key(function, task: Task):
    """A function of the key alone, for `switch`."""

    def of_key(key: Key):
        return function(task, key)

    return of_key
