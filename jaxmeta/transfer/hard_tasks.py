"""The hard-task meta-batch: what failed is pooled, drawn again, trained again.

Sun, Liu, Chua, Schiele 2019, Meta-Transfer Learning for Few-Shot Learning,
https://arxiv.org/abs/1812.02391, section 4.3, algorithm 2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.checks import at_least
from jaxmeta.core import (
    Batch,
    Episode,
    Key,
    Keys,
    Meta,
    MetaLearner,
    Objective,
)
from jaxmeta.data.arrays import Dataset, unit_range
from jaxmeta.functional.rows import clean_rows, example_weights
from jaxmeta.shapes import Array, Float, Int
from jaxmeta.tasks.sampling import choose

ClassTask = Callable[[Key, Array], Episode]


def class_task(data: Dataset, shots: int, queries: int) -> Partial:
    """Builds the draw of an episode whose classes are given: label j is `classes[j]`.

    `tasks.few_shot` for whoever chooses the classes.

    Args:
      data: the examples, grouped by class.
      shots: support examples of each class.
      queries: query examples of each class.

    Returns:
      `(key, classes [ways]) -> Episode`, a pytree whose leaves are the data.

    Raises:
      ValueError: a number below 1, or a class with fewer than `shots + queries`.

    >>> from jaxmeta.data import from_counts
    >>> data = from_counts(np.arange(6.0)[:, None], [3, 3], ("a", "b"))
    >>> task = class_task(data, 1, 1)
    >>> bool(task(jax.random.key(0), jnp.array([1, 0])).support.inputs[0, 0] >= 3)
    True
    """
    at_least(1, shots=shots, queries=queries)
    fewest = int(np.asarray(data.counts).min())
    if fewest < shots + queries:
        raise ValueError(
            f"data: got a class of {fewest} examples, wants at least "
            f"{shots + queries} = {shots} shots + {queries} queries"
        )
    starts, counts = (jnp.asarray(x, jnp.int32) for x in (data.starts, data.counts))
    return Partial(_ClassTask(shots, queries), jnp.asarray(data.inputs), starts, counts)


@dataclass(frozen=True)
class _ClassTask:
    """The static half of a task, compared by value."""

    shots: int
    queries: int

    def __call__(self, inputs, starts, counts, key, classes):
        rows = choose(key, counts[classes], self.shots + self.queries)
        rows = rows + starts[classes][:, None]  # [ways, shots + queries]
        x = inputs.reshape(len(inputs), -1)[rows]
        x = x.reshape(*rows.shape, *inputs.shape[1:])
        x = unit_range(x)

        def batch(x):
            targets = jnp.repeat(jnp.eye(len(classes)), x.shape[1], axis=0)
            return Batch(x.reshape(-1, *x.shape[2:]), targets)

        return Episode(batch(x[:, : self.shots]), batch(x[:, self.shots :]))


def hard_tasks(
    objective: Objective,
    learner: MetaLearner,
    task: ClassTask,
    *,
    classes: int,
    ways: int,
    period: int = 2,
) -> Objective:
    """Alternates tasks of any classes with tasks of the classes that failed in them.

        ordinary step:  C_b ~ all classes,   pool <- pool + {argmin_{m in C_b} acc_m}
        every period-th step:  C_b ~ pool,   pool <- {}

    In each ordinary task the class with the lowest query accuracy is pooled; among
    equals, the one with the highest query loss. The hard step draws new examples of
    pooled classes, without one twice in a task, and fills up with others where the pool
    has fewer than `ways`. Each step is one outer step of the trainer, as published.

    The pool is a part of `Meta.buffers`, and tasks are drawn inside: a run is a function
    of its key, and resumes from its state. The draw that `fit` asks for is a key, so
    pass `sample=lambda key: key`. Build it inside the jitted function, from a task that
    is an argument, and the data are no constants of the program:

        @jax.jit
        def run(task, state, key):
            objective = hard_tasks(episodic(learner), learner, task, classes=964, ways=5)
            trainer = make_trainer(objective, tx)
            return fit(trainer, lambda key: key, state, key, steps=100, batch=4)

    Args:
      objective: `jaxmeta.episodic(learner)`, or any other for a stack of episodes.
      learner: whose predictions decide what failed.
      task: `(key, classes [ways]) -> Episode`, with the queries' labels in that order;
        from `class_task`.
      classes: how many there are to choose from.
      ways: classes in a task.
      period: >= 2; 2 is a hard step after every ordinary one.

    Returns:
      An `Objective` whose batch is `[tasks]` keys, and whose buffers are `{"model",
      "pool" [classes], "step"}`; `learner_meta` takes the learner's `Meta` out of it.

    Raises:
      ValueError: for numbers out of range.

    References:
      Sun et al. 2019, arXiv:1812.02391.
    """
    if not 1 <= ways <= classes:
        raise ValueError(f"ways: got {ways}, wants an integer in [1, {classes}]")
    at_least(2, period=period)

    def episode(pool, key):
        class_key, key = jax.random.split(key)
        # Gumbel's trick: the largest of them are a sample without replacement, evenly
        # from the pool first (its members are lifted above all others)
        order = jax.random.gumbel(class_key, (classes,)) + 1e3 * pool
        chosen = jax.lax.top_k(order, ways)[1]
        return task(key, chosen), chosen

    def init(key: Key, keys: Keys) -> Meta:
        nobody = jnp.zeros(classes)
        episodes, _ = jax.vmap(lambda key: episode(nobody, key))(keys)
        meta = objective.init(key, episodes)
        buffers = {"model": meta.buffers, "pool": nobody, "step": jnp.zeros(())}
        return meta._replace(buffers=buffers)

    def value_and_grad(meta: Meta, keys: Keys, key: Key):
        held, pool, step = (meta.buffers[name] for name in ("model", "pool", "step"))
        hard = jnp.round(step) % period == period - 1
        draw = jnp.where(hard, pool, jnp.zeros_like(pool))
        episodes, chosen = jax.vmap(lambda key: episode(draw, key))(keys)
        inner = meta._replace(buffers=held)
        learn_key, judge_key = jax.random.split(key)
        result, grads = objective.value_and_grad(inner, episodes, learn_key)
        value, aux = result

        def failing(args):
            episode, chosen, key = args
            query = episode.query
            fast = learner.adapt(inner, episode.support, key)
            given = {} if query.weights is None else {"weights": query.weights}
            outputs = learner.predict(inner, fast, query.inputs, **given)
            return chosen[failing_class(outputs, query.targets, query.weights)]

        def add(pool):
            keys = jax.random.split(judge_key, chosen.shape[0])
            found = jax.lax.map(failing, (episodes, chosen, keys))
            return pool.at[found].set(1.0)

        pooled = jax.lax.cond(hard, jnp.zeros_like, add, pool)
        model = held if aux.buffers is None else aux.buffers
        buffers = {"model": model, "pool": pooled, "step": jnp.round(step) + 1}
        report = {"hard": hard.astype(jnp.result_type(value)), **aux.metrics}
        return (value, aux._replace(metrics=report, buffers=buffers)), grads

    return Objective(init, value_and_grad)


def learner_meta(meta: Meta) -> Meta:
    """What a learner trained by `hard_tasks` is evaluated with.

    >>> learner_meta(Meta(1.0, {"model": 2.0, "pool": 3.0, "step": 4.0}))
    Meta(params=1.0, buffers=2.0)
    """
    return meta._replace(buffers=meta.buffers["model"])


def failing_class(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
) -> Int[Array, ""]:
    """The class with the lowest accuracy; among equals, with the highest mean loss.

    Args:
      outputs: logits `[n, c]`.
      targets: one-hot `[n, c]`.
      weights: `[n]`, or `None` for all 1.

    Returns:
      An integer; a class without examples is never it.

    >>> outputs = jnp.array([[2.0, 0.0], [9.0, 0.0]])
    >>> int(failing_class(outputs, jnp.eye(2)))
    1
    """
    if weights is not None:
        outputs, targets = clean_rows((outputs, targets), weights)
        weights = example_weights(weights).astype(targets.dtype)
    mine = targets if weights is None else weights[:, None] * targets
    count = mine.sum(0)
    each = jnp.where(count > 0, count, 1.0)
    hit = (outputs.argmax(-1) == targets.argmax(-1)).astype(outputs.dtype)
    accuracy = hit @ mine / each
    nll = -jnp.sum(targets * jax.nn.log_softmax(outputs), -1) @ mine / each
    accuracy = jnp.where(count > 0, accuracy, jnp.inf)
    worst = accuracy <= accuracy.min()
    return jnp.argmax(jnp.where(worst, nll, -jnp.inf))
