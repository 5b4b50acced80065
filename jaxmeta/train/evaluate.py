"""Evaluation: many episodes, one number, its interval, and what it may be compared with."""

import functools
import itertools
from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jax.tree_util import Partial

from jaxmeta import metrics
from jaxmeta.alike import Shared
from jaxmeta.checks import at_least
from jaxmeta.core import Criterion, Episode, Key, Meta, MetaLearner, Task
from jaxmeta.criteria import as_criterion
from jaxmeta.functional.predictive import Predictive
from jaxmeta.tasks.names import class_names, episode_classes
from jaxmeta.train.calibration import statistics, summarise
from jaxmeta.train.evaluation import Evaluation, by_class, interval
from jaxmeta.train.policy import platform_of, task_chunk
from jaxmeta.train.predictions import predicted, query_dependence, told_weights
from jaxmeta.train.sharding import map_over_mesh, replicate

AT_ONCE = 64
"""Episodes side by side, at most, where the number is not given."""

PARTS = 20
"""How often somebody is told how far it is, about."""


class _Programs:
    """What is compiled for a learner and a way to judge it, however often it is used."""

    headline: str

    def __init__(self, learner, criterion, chunk, predictive, mesh):
        def one(meta, episode, key):
            fast = learner.adapt(meta, episode.support, key)
            outputs = predicted(learner, criterion, meta, fast, episode)
            query = episode.query
            report = criterion.metrics(outputs, query.targets, query.weights)
            # known once traced: a compiled program sorts the names
            self.headline = next(iter(report))
            if query.weights is not None:  # nothing was asked: there is no score
                asked = jnp.any(query.weights != 0)
                report = {k: jnp.where(asked, x, jnp.nan) for k, x in report.items()}
            found = {"score": report[self.headline], "metrics": report}
            if predictive is not None:
                belief = told_weights(
                    predictive, meta, fast, query.inputs, query.weights
                )
                found["belief"] = statistics(belief, episode)
            return found, outputs

        def drawn(shared, keys):
            meta, task = shared
            sampling, adapting = keys
            episode = task(sampling)
            found, outputs = one(meta, episode, adapting)
            classes = episode_classes(task, sampling)
            if classes is not None:
                query = episode.query
                table = metrics.confusion(outputs, query.targets, query.weights)
                found["classes"], found["confusion"] = classes, table
            return found

        def given(meta, pair):
            return one(meta, *pair)[0]

        self.chunk = chunk
        self.drawn = jax.jit(map_over_mesh(drawn, mesh, chunk))
        self.given = jax.jit(map_over_mesh(given, mesh, chunk))
        self.dependence = jax.jit(functools.partial(query_dependence, learner))


_programs = Shared()


def evaluate(
    learner: MetaLearner,
    meta: Meta,
    task: Task | Iterable[Episode],
    key: Key,
    *,
    episodes: int = 600,
    criterion: Criterion | Callable | None = None,
    chunk: int | None = None,
    predictive: Callable[..., Predictive] | None = None,
    mesh: Mesh | None = None,
    batched: bool | None = None,
    told: Callable[[int], object] | None = None,
) -> Evaluation:
    """Adapts to `episodes` tasks and scores the predictions on their queries.

    Episode t of a task is made from `fold_in(key, t)`: the same key gives the same
    episodes to every learner, so that two learners can be compared in pairs.

    Programs are compiled once for a learner, and for any other that is built alike; they
    go when the last of those learners goes.

    Args:
      learner: the method.
      meta: its parameters.
      task: the distribution of test tasks; or episodes from the host, as any iterable of
        `Episode`s, or as `tasks.stream` gives them, in batches.
      key: fixes the episodes of a task, and the keys of `adapt`.
      episodes: how many, >= 2; fewer if an iterable ends before.
      criterion: what the queries are judged by; the learner's own by default. Of a loss
        function, its value is the score.
      chunk: episodes run side by side; memory grows with it, results do not change. By
        default as many as `train.policy` says, and no more than 64.
      predictive: `(meta, fast, inputs) -> Predictive`, what the learner believes, as
        the probabilistic learners offer it and `learners.probabilistic.classifier` makes
        it of logits: then likelihood, entropy, calibration and coverage are reported.
      mesh: from `task_mesh`: its devices share the episodes.
      batched: whether each item of an iterable is a batch, with a leading axis of tasks;
        by default those of a Grain data set are, and others are not.
      told: called with how many more episodes are done, some twenty times: for a bar.

    Returns:
      An `Evaluation`.

    Raises:
      ValueError: if `episodes < 2` (an interval needs two), `chunk < 1`, or an iterable
        holds fewer than 2 episodes.

    >>> import jaxmeta as jm
    >>> task, learner = jm.tasks.glyphs(5, 1, 2), jm.protonet(jm.models.mlp(None))
    >>> meta = learner.init(jax.random.key(0), task(jax.random.key(1)))
    >>> evaluate(learner, meta, task, jax.random.key(2), episodes=4).metric
    'accuracy'
    """
    at_least(2, episodes=episodes)
    if chunk is not None:
        at_least(1, chunk=chunk)
    if isinstance(task, Episode) or not (callable(task) or isinstance(task, Iterable)):
        raise TypeError(
            f"task: got {type(task).__name__}, wants a task (key -> Episode) or an "
            "iterable of Episodes"
        )
    criterion = as_criterion(learner.criterion if criterion is None else criterion)
    devices = 1 if mesh is None else mesh.size
    keys = jax.vmap(lambda t: jax.random.fold_in(key, t))(jnp.arange(episodes))
    pairs = jax.vmap(lambda k: tuple(jax.random.split(k)))(keys)  # sampling, adapting

    def programs(first: Episode) -> _Programs:
        size = chunk
        if size is None:
            some = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct((AT_ONCE, *x.shape), x.dtype), first
            )
            here = platform_of(meta) if mesh is None else mesh.devices.flat[0].platform
            size = task_chunk(some, here)
        options = (criterion, size, predictive, mesh)
        make = functools.partial(_Programs, learner, *options)
        return _programs.of(learner.adapt, (learner.predict, options), make)

    def spread(run, shared, tasks, count, size=1):
        # devices have equally many, and every part: the first ones are done again there,
        # which is left out
        rows = np.arange(-(-max(count, size) // devices) * devices) % count
        tasks = jax.tree.map(lambda x: x[rows], tasks)
        args = (shared, tasks) if mesh is None else replicate((shared, tasks), mesh)
        found = jax.tree.map(lambda x: np.asarray(x)[:count], run(*args))
        if told is not None:
            told(count)
        return found

    if callable(task):
        # a task of our own is a pytree whose images are arguments of the program; any
        # other callable is compiled in
        task = task if isinstance(task, Partial) else Partial(task)
        first, names = _is_episode(draw(task, pairs[0][0])), class_names(task)
        made = programs(first)
        size, parts = episodes, []
        if told is not None:  # whole chunks, so that one program serves all parts
            size = made.chunk * devices
            size *= -(-episodes // (PARTS * size))
        for at in range(0, episodes, size):
            part = jax.tree.map(lambda x, at=at: x[at : at + size], pairs)
            count = min(size, episodes - at)
            parts.append(
                spread(made.drawn, (meta, task), part, count, min(size, episodes))
            )
        found = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    else:
        names, parts = None, []
        for at, part in _batches(task, episodes, batched):
            if not parts:
                first = jax.tree.map(lambda x: x[0], part)
                made = programs(first)
            count = len(part.query.targets)
            adapting = pairs[1][at : at + count]
            parts.append(spread(made.given, meta, (part, adapting), count))
        episodes = sum(len(part["score"]) for part in parts)
        if episodes < 2:
            raise ValueError(f"task: got {episodes} episodes, wants 2 or more")
        found = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    moved = float(made.dependence(meta, first, pairs[1][0]))
    mean, ci95 = interval(found["score"])
    beliefs = {} if predictive is None else summarise(found["belief"])
    by_name = {} if names is None else by_class(names, found)
    means = {k: np.mean(x, dtype=np.float64) for k, x in found["metrics"].items()}
    return Evaluation(
        mean,
        ci95,
        found["score"],
        made.headline,
        episodes,
        None if np.isnan(moved) else moved > 1e-3,
        **beliefs,
        **by_name,
        metrics={name: float(value) for name, value in means.items()},
    )


def _batches(
    items: Iterable[Episode], episodes: int, batched: bool | None
) -> Iterator[tuple[int, Episode]]:
    """Up to `episodes` episodes from the host, some at a time, and the number of the first."""
    if batched is None:
        batched = hasattr(items, "to_iter_dataset")  # a Grain data set
    if batched:
        singles = (
            jax.tree.map(lambda x, i=i: x[i], batch)
            for batch in map(_is_episode, items)
            for i in range(len(batch.query.targets))
        )
    else:
        singles = map(_is_episode, items)
    at = 0
    for _, group in itertools.groupby(itertools.islice(singles, episodes), _shapes):
        group = iter(group)
        while some := list(itertools.islice(group, AT_ONCE)):
            yield at, jax.tree.map(lambda *x: np.stack(x), *some)
            at += len(some)


def _is_episode(item: Episode) -> Episode:
    if not isinstance(item, Episode):
        raise TypeError(f"task: gave {type(item).__name__}, wants Episodes")
    return item


def _shapes(episode: Episode):
    return jax.tree.structure(episode), tuple(map(np.shape, jax.tree.leaves(episode)))


@jax.jit
def draw(task: Task, key: Key) -> Episode:
    """An episode of a task, which must be a pytree.

    One program: op by op, a drawn character would be a hundred small ones. It is shared
    by all who draw from a task here.
    """
    return task(key)
