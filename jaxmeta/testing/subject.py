"""What the laws look at, and the programs they share."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import train
from jaxmeta.core import Batch, Episode, Key, Meta, MetaLearner, PyTree, Task
from jaxmeta.criteria import as_criterion

TASKS = 8
"""Tasks of an outer step."""


class LawBroken(AssertionError):
    """A learner broke a law of the contract; the text says which, where, by how much."""


class Subject(NamedTuple):
    """What the laws look at.

    Attributes:
      learner: the method under test.
      task: its distribution of tasks.
      episodes: a stack of draws, as many as the laws at hand look at.
      episode: the first of them.
      meta: the learner's initial `Meta`, in the precision of the check.
      key: for everything random.
      options: the keyword arguments of `check_learner`; `draws` episodes are drawn.
      value_and_grad: `(meta, episode, key) -> (loss, aux, grads)`, compiled. The
        compiled functions are shared by the laws: compiling is what takes time.
      many: the same over `TASKS` tasks, `(meta, episodes, keys)`, compiled.
      predict: `(meta, episode, key) -> outputs`, compiled.
      score: `(meta, episodes, keys) -> scores`, compiled.
      draw: `key -> episodes`, compiled.
      began: the learner's initial `Meta` and an episode as a user has them, in the types
        that `init` and the task give.
    """

    learner: MetaLearner
    task: Task
    episodes: Episode
    episode: Episode
    meta: Meta
    key: Key
    options: dict
    value_and_grad: Callable
    many: Callable
    predict: Callable
    score: Callable
    draw: Callable
    began: tuple[Meta, Episode]


def subject(learner: MetaLearner, task: Task, key: Key, options: dict) -> Subject:
    """Draws an episode, initialises the learner and prepares what the laws share."""
    init_key, episode_key, key = jax.random.split(key, 3)

    @jax.jit
    def drawn(key):
        return jax.vmap(task)(jax.random.split(key, options["draws"]))

    def draw(key):
        return cast(drawn(key))

    own = drawn(episode_key)
    began = (learner.init(init_key, nth(own, 0)), nth(own, 0))
    episodes, meta = cast((own, began[0]))
    criterion = as_criterion(learner.criterion)

    def predict(meta, episode, key):
        return train.predictions(learner, meta, episode, key)

    def score(meta, episodes, keys):
        def one(episode, key):
            query = episode.query
            outputs = predict(meta, episode, key)
            found = criterion.metrics(outputs, query.targets, query.weights)
            return next(iter(found.values()))

        return jax.vmap(one)(episodes, keys)

    one = value_and_grad(learner)
    many = jax.vmap(one, (None, 0, 0))
    looked_at = (episodes, nth(episodes, 0), meta)
    compiled = jax.jit(one), jax.jit(many), jax.jit(predict), jax.jit(score)
    return Subject(learner, task, *looked_at, key, options, *compiled, draw, began)


def nth(stack: PyTree, i) -> PyTree:
    """One of a stack of episodes, or of rows, or a stack of some."""
    return by_numpy(lambda x: x[i], stack)


def cast(tree: PyTree) -> PyTree:
    """Floats to the widest precision that is switched on."""
    wide = jnp.zeros(()).dtype
    return by_numpy(
        lambda x: x.astype(wide) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree
    )


def by_numpy(change: Callable, tree: PyTree) -> PyTree:
    """A change of arrays, leaf by leaf, by NumPy, which compiles nothing for a new shape.

    Of random keys of their own type, which NumPy does not know, their words are changed.
    """

    def one(x):
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.device_put(change(np.asarray(x)))
        words = change(np.asarray(jax.random.key_data(x)))
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(x))

    return jax.tree.map(one, tree)


def distance(a: PyTree, b: PyTree) -> float:
    """The largest difference between two trees, relative to the larger of 1 and |b|."""

    def gap(x, y):
        x, y = np.asarray(x), np.asarray(y)
        return np.max(np.abs(x - y) / np.maximum(1.0, np.abs(y)), initial=0.0)

    gaps = jax.tree.leaves(jax.tree.map(gap, a, b))
    return float(np.max(gaps, initial=0.0))  # unlike `max`, sees every NaN


def need(good: bool, text: str) -> None:
    """Breaks the law at hand unless `good`."""
    if not good:
        raise LawBroken(text)


def value_and_grad(learner: MetaLearner):
    """`(meta, episode, key) -> (loss, aux, grads)` of a learner, not compiled."""

    def run(meta, episode, key):
        def loss(params):
            return learner.loss(meta._replace(params=params), episode, key)

        (value, aux), grads = jax.value_and_grad(loss, has_aux=True)(meta.params)
        return value, aux, grads

    return run


def padded(batch: Batch, rows: int = 2) -> Batch:
    """The batch with further rows of weight 0, which hold what could not go unseen."""

    def more(x):
        fill = np.nan if jnp.issubdtype(x.dtype, jnp.floating) else np.max(x)
        return np.concatenate([x, np.full_like(x, fill, shape=(rows, *x.shape[1:]))])

    inputs, targets = by_numpy(more, (batch.inputs, batch.targets))
    weights = np.ones(len(batch.targets), batch.targets.dtype)
    if batch.weights is not None:
        weights = np.asarray(batch.weights)
    weights = np.append(weights, np.zeros(rows, weights.dtype))
    return Batch(inputs, targets, jax.device_put(weights))


def predict(s: Subject, episode: Episode) -> np.ndarray:
    """The subject's predictions for the queries of an episode, by the shared program."""
    return np.asarray(s.predict(s.meta, episode, s.key))
