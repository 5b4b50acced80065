"""Learning that goes on: stages of classes, one after another, and none is shown again."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.checks import refusal
from jaxmeta.core import Array, Batch, Episode, Key, Meta, PyTree
from jaxmeta.functional.rows import weights_of
from jaxmeta.metrics import accuracy
from jaxmeta.shapes import Float


class Continual(NamedTuple):
    """A way to learn from a stream that comes in pieces. Three pure functions.

    A `MetaLearner` starts every task anew; here the next piece meets what the last has
    left. `meta` is what a stream does not move: it may come from any training.

    Attributes:
      start: `(meta, batch, key) -> state`: what is known before the first example; the
        batch is there for its shapes.
      learn: `(meta, state, batch, key) -> state`: rows in their order, each seen once.
        A row of weight 0 changes nothing.
      predict: `(meta, state, inputs) -> outputs [n, c]`, among all classes, those to
        come too.
    """

    start: Callable[[Meta, Batch, Key], PyTree]
    learn: Callable[[Meta, PyTree, Batch, Key], PyTree]
    predict: Callable[[Meta, PyTree, PyTree], Array]


def in_stages(episode: Episode, stages: int) -> Episode:
    """Cuts an episode whose examples lie class by class into stages of classes.

    Args:
      episode: as `tasks.few_shot` draws it.
      stages: how many; each gets the same number of classes.

    Returns:
      An `Episode` with leaves `[stages, n, ...]`; targets are rows over all classes.

    Raises:
      ValueError: if the classes cannot be shared out evenly.

    >>> batch = Batch(jnp.arange(8.0)[:, None], jnp.repeat(jnp.eye(4), 2, 0))
    >>> in_stages(Episode(batch, batch), 2).support.inputs.shape
    (2, 4, 1)
    """
    ways = episode.support.targets.shape[-1]
    if stages < 1 or ways % stages:
        raise refusal("stages", stages, f"a divisor of the {ways} classes")
    return jax.tree.map(
        lambda x: x.reshape(stages, x.shape[0] // stages, *x.shape[1:]), episode
    )


def accuracies(
    method: Continual, meta: Meta, stages: Episode, key: Key
) -> tuple[Float[Array, "t t"], PyTree]:
    """Learns stage after stage; after each one, asks for the queries of all.

        R_tj = accuracy on the queries of stage j after stages 0 to t

    No query is told which stage it is of: all classes are rivals. Above the diagonal are
    classes that have not come yet. `functional.seen_accuracy`, `forgetting` and
    `backward_transfer` say what the table means.

    Args:
      method: how the stream is learned.
      meta: what it starts from.
      stages: leaves `[t, n, ...]`, see `in_stages`; stages of different sizes are filled
        with rows of weight 0.
      key: for the method.

    Returns:
      `(R [t, t], the state after the last stage)`.

    >>> from jaxmeta.models import flat
    >>> from jaxmeta.transfer.continual_sums import class_means
    >>> batch = Batch(jnp.arange(4.0)[:, None], jnp.eye(4))
    >>> stages = in_stages(Episode(batch, batch), 2)
    >>> accuracies(class_means(flat()), Meta({}), stages, jax.random.key(0))[0].tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    asked = jax.tree.map(
        lambda x: x.reshape(-1, *x.shape[2:]), stages.query.inputs
    )  # of all stages at once
    starting, learning = jax.random.split(key)
    first = jax.tree.map(lambda x: x[0], stages.support)
    state = method.start(meta, first, starting)

    def stage(state, seen):
        batch, t = seen
        state = method.learn(meta, state, batch, jax.random.fold_in(learning, t))
        outputs = method.predict(meta, state, asked)
        outputs = outputs.reshape(stages.query.targets.shape)
        weights = jax.vmap(weights_of)(stages.query)
        return state, jax.vmap(accuracy)(outputs, stages.query.targets, weights)

    count = stages.query.targets.shape[0]
    state, table = jax.lax.scan(stage, state, (stages.support, jnp.arange(count)))
    return table, state
