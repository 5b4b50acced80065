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
from jaxmeta.train.predictions import answering, dependence, predicted, told_weights
from jaxmeta.train.sharding import map_over_mesh, replicate

AT_ONCE = 50
"""Episodes drawn at a time, at most: people test with 100, 300, 600, 1,000."""

BYTES = 2**27
"""What they may take."""


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

        def judged(meta, given):
            episode, classes, key = given
            found, outputs = one(meta, episode, key)
            if classes is not None:
                query = episode.query
                table = metrics.confusion(outputs, query.targets, query.weights)
                found["classes"], found["confusion"] = classes, table
            return found

        self.chunk = chunk
        # apart: sets of classes differ in size, and each draws by a program of its own;
        # what is drawn has one shape, and one program judges it, which is the long one
        self.judged = jax.jit(map_over_mesh(judged, mesh, chunk))
        self.drawn = _drawing(mesh, chunk)
        self.answer = answering(learner, criterion)


_programs = Shared()


@functools.cache
def _drawing(mesh: Mesh | None, chunk: int):
    """Draws episodes, whoever is asked about them; it stays, as `draw` does."""

    def drawn(task, keys):
        sampling, adapting = keys
        return task(sampling), episode_classes(task, sampling), adapting

    return jax.jit(map_over_mesh(drawn, mesh, chunk, whole=False))


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
    transduction: bool = True,
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
        default as many as `train.policy` says, and no more than 50.
      predictive: `(meta, fast, inputs) -> Predictive`, what the learner believes, as
        the probabilistic learners offer it and `learners.probabilistic.classifier` makes
        it of logits: then likelihood, entropy, calibration and coverage are reported.
      mesh: from `task_mesh`: its devices share the episodes.
      batched: whether each item of an iterable is a batch, with a leading axis of tasks;
        by default those of a Grain data set are, and others are not.
      told: called with how many more episodes are done, whenever some are: for a bar.
      transduction: whether to measure if a prediction depends on the other queries, which
        takes a program of its own.

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

    def placed(tree):
        return tree if mesh is None else replicate(tree, mesh)

    def judged(made, given, count):
        found = made.judged(there, given)
        found = jax.tree.map(lambda x: np.asarray(x)[:count], found)
        if told is not None:
            told(count)
        return found

    def filled(count, width):
        # devices have equally many, and parts, too: the first ones are done again there,
        # which is left out
        return np.arange(-(-width // devices) * devices) % count

    there, parts = placed(meta), []
    if callable(task):
        # a task of our own is a pytree whose images are arguments of the program; any
        # other callable is compiled in
        task = task if isinstance(task, Partial) else Partial(task)
        sampling, adapting = (k[0] for k in _keys(key, np.arange(1)))
        first, names = _is_episode(draw(task, sampling)), class_names(task)
        made = programs(first)
        # never more for fewer episodes: one program serves the validation and the test
        size = min(_part(first, made.chunk * devices), episodes)
        task = placed(task)
        for at in range(0, episodes, size):
            count = min(size, episodes - at)
            numbers = at + filled(count, size)
            given = made.drawn(task, placed(_keys(key, numbers)))
            parts.append(judged(made, given, count))
    else:
        names, batches = None, _batches(task, episodes, batched)
        opening = next(batches, None)
        if opening is None:
            raise ValueError("task: got 0 episodes, wants 2 or more")
        first = jax.tree.map(lambda x: x[0], opening[1])
        made, adapting = programs(first), _keys(key, np.arange(1))[1][0]
        for at, part in itertools.chain([opening], batches):
            count = len(part.query.targets)
            given = part, None, _keys(key, np.arange(at, at + count))[1]
            rows = filled(count, count)
            given = jax.tree.map(lambda x, rows=rows: x[rows], given)
            parts.append(judged(made, placed(given), count))
        episodes = sum(len(part["score"]) for part in parts)
        if episodes < 2:
            raise ValueError(f"task: got {episodes} episodes, wants 2 or more")
    found = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    moved = dependence(made.answer, meta, first, adapting) if transduction else np.nan
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


@jax.jit
def _keys(key: Key, numbers: np.ndarray) -> tuple[Key, Key]:
    """Of each episode by its number: for drawing it, and for adapting to it."""

    def pair(t):
        sampling, adapting = jax.random.split(jax.random.fold_in(key, t))
        return sampling, adapting

    return jax.vmap(pair)(numbers)


def _part(first: Episode, least: int) -> int:
    """How many episodes are drawn at a time: whole chunks, `least` each, in `BYTES`."""
    bytes_each = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(first))
    most = min(AT_ONCE, BYTES // max(bytes_each, 1))
    return max(most // least, 1) * least


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

    One program, whoever wrote the task, and shared by all who draw from it here.
    """
    return task(key)
