"""Evaluation: many episodes, one number, its interval, and what it may be compared with."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jax.sharding import Mesh
from jax.tree_util import Partial

from jaxmeta import losses, metrics
from jaxmeta.core import Array, Episode, Key, Meta, MetaLearner, Task
from jaxmeta.functional.predictive import Predictive
from jaxmeta.train.calibration import statistics, summarise
from jaxmeta.train.sharding import map_over_mesh, replicate


class Evaluation(NamedTuple):
    """The score of a meta-learner over episodes.

    Attributes:
      mean: the mean score.
      ci95: half the width of its 95 % Student-t interval over episodes. The episodes
        are drawn with replacement from one set of classes, so the interval covers the
        sampling of episodes, not the choice of classes or of the training seed.
      scores: `[episodes]`.
      metric: "accuracy" or "mse", or the name of the given metric.
      episodes: how many.
      transductive: whether a query's prediction depends on the other queries, as
        measured on the first episode.
      nll: mean negative log-likelihood of the queries, in nats; this and what follows
        is `None` without `predictive`.
      nlls: `[episodes]`; two learners are compared in pairs by them.
      entropy: mean entropy of the predictions, in nats.
      ece: expected calibration error over all queries of all episodes: of confidences
        in classification, of the quantiles in regression (`train.calibration`).
      coverage: fraction of the targets in the central 90 % band; regression alone.
    """

    mean: float
    ci95: float
    scores: np.ndarray
    metric: str
    episodes: int
    transductive: bool
    nll: float | None = None
    nlls: np.ndarray | None = None
    entropy: float | None = None
    ece: float | None = None
    coverage: float | None = None

    def __str__(self) -> str:
        word = ", transductive" if self.transductive else ""
        return (
            f"{self.metric} {self.mean:.4f} ± {self.ci95:.4f} "
            f"({self.episodes} episodes, 95 % t-interval{word})"
        )


def interval(scores: np.ndarray) -> tuple[float, float]:
    """Mean and half-width of the 95 % Student-t interval; the unit is the episode.

        m ± t_{.975, n-1} s / sqrt(n),   s with n - 1 in the denominator

    >>> [round(x, 4) for x in interval(np.array([0.0, 1.0, 0.0, 1.0]))]
    [0.5, 0.9187]
    """
    n = len(scores)
    quantile = scipy.stats.t.ppf(0.975, n - 1)
    scores = np.asarray(scores, np.float64)
    return float(scores.mean()), float(quantile * scores.std(ddof=1) / np.sqrt(n))


def predictions(learner: MetaLearner, meta: Meta, episode: Episode, key: Key) -> Array:
    """Adapts to the support set and predicts the query set: `[n, c]`.

    Classes without a support example (the padded columns of an episode of few ways) are
    never predicted: their scores are made lower than all others.
    """
    fast = learner.adapt(meta, episode.support, key)
    return _predicted(learner, meta, fast, episode)


def _predicted(learner: MetaLearner, meta: Meta, fast, episode: Episode) -> Array:
    outputs = learner.predict(meta, fast, episode.query.inputs)
    if outputs.shape[-1:] != episode.support.targets.shape[-1:]:
        return outputs  # not one score a class: whatever compares them says so
    return losses.over_present(outputs, episode.support.targets)


def query_dependence(
    learner: MetaLearner, meta: Meta, episode: Episode, key: Key
) -> Array:
    """How far predictions of a query move when all other queries change.

        max_c | f(q_1 | q_1, q_2, ..., q_n)_c - f(q_1 | q_1, q_1, ..., q_1)_c |

    Args:
      learner: the method.
      meta: its parameters.
      episode: one task with at least two different queries.
      key: for `adapt`.

    Returns:
      A scalar: rounding error for an inductive learner, far more for a transductive
      one (batch statistics over the query set, say).
    """
    fast = learner.adapt(meta, episode.support, key)
    alone = jax.tree.map(
        lambda x: jnp.broadcast_to(x[:1], x.shape), episode.query.inputs
    )
    apart = learner.predict(meta, fast, alone)[0]
    together = learner.predict(meta, fast, episode.query.inputs)[0]
    scale = jnp.maximum(1.0, jnp.max(jnp.abs(together)))
    return jnp.max(jnp.abs(apart - together)) / scale


@functools.lru_cache(maxsize=64)
def _evaluator(
    learner: MetaLearner,
    metric: Callable,
    chunk: int,
    predictive: Callable | None,
    mesh: Mesh | None,
):
    """Compiled once for a learner and a metric, however often it is evaluated."""

    @jax.jit
    def scores(meta, task, keys):
        def one(shared, key):
            meta, task = shared
            sampling, adapting = jax.random.split(key)
            episode = task(sampling)
            fast = learner.adapt(meta, episode.support, adapting)
            outputs = _predicted(learner, meta, fast, episode)
            score = metric(outputs, episode.query.targets)
            if predictive is None:
                return score, {}
            belief = predictive(meta, fast, episode.query.inputs)
            return score, statistics(belief, episode)

        return map_over_mesh(one, mesh, chunk)((meta, task), keys)

    dependence = jax.jit(functools.partial(query_dependence, learner))
    return scores, dependence


def evaluate(
    learner: MetaLearner,
    meta: Meta,
    task: Task,
    key: Key,
    *,
    episodes: int = 600,
    metric: Callable[[Array, Array], Array] | None = None,
    chunk: int = 1,
    predictive: Callable[..., Predictive] | None = None,
    mesh: Mesh | None = None,
) -> Evaluation:
    """Adapts to `episodes` tasks and scores the predictions on their queries.

    Episode t is made from `fold_in(key, t)`: the same key gives the same episodes to
    every learner, so that two learners can be compared in pairs.

    Args:
      learner: the method.
      meta: its parameters.
      task: the distribution of test tasks.
      key: fixes the episodes.
      episodes: how many, >= 2.
      metric: `(outputs, targets) -> scalar`; by default accuracy where the targets are
        one-hot rows, else mse.
      chunk: episodes run side by side; memory grows with it, results do not change.
      predictive: `(meta, fast, inputs) -> Predictive`, what the learner believes, as
        the probabilistic learners offer it and `learners.probabilistic.classifier` makes
        it of logits: then likelihood, entropy, calibration and coverage are reported.
      mesh: from `task_mesh`: its devices share the episodes.

    Returns:
      An `Evaluation`.

    Raises:
      ValueError: if `episodes < 2` (an interval needs two), or `chunk < 1`.

    >>> import jaxmeta as jm
    >>> task, learner = jm.tasks.glyphs(5, 1, 2), jm.protonet(jm.models.mlp(None))
    >>> meta = learner.init(jax.random.key(0), task(jax.random.key(1)))
    >>> evaluate(learner, meta, task, jax.random.key(2), episodes=4).metric
    'accuracy'
    """
    if episodes < 2:
        raise ValueError(f"episodes: got {episodes}, wants an integer >= 2")
    if chunk < 1:
        raise ValueError(f"chunk: got {chunk}, wants an integer >= 1")
    keys = jax.vmap(lambda t: jax.random.fold_in(key, t))(jnp.arange(episodes))
    # a task of our own is a pytree whose images are arguments of the program; any
    # other callable is compiled in
    task = task if isinstance(task, Partial) else Partial(task)
    sampling, adapting = jax.random.split(keys[0])
    first = _draw(task, sampling)
    if metric is None:
        metric = metrics.accuracy if _one_hot(first.query.targets) else metrics.mse
    score, dependence = _evaluator(learner, metric, chunk, predictive, mesh)
    # devices have equally many: some do the first ones again, which is left out
    devices = 1 if mesh is None else mesh.size
    padded = keys[jnp.arange(-(-episodes // devices) * devices) % episodes]
    inputs = (meta, task, padded)
    found = score(*(inputs if mesh is None else replicate(inputs, mesh)))
    scores, found = jax.tree.map(lambda x: np.asarray(x)[:episodes], found)
    moved = float(dependence(meta, first, adapting))
    mean, ci95 = interval(scores)
    name = getattr(metric, "__name__", type(metric).__name__)
    beliefs = {} if predictive is None else summarise(found)
    return Evaluation(mean, ci95, scores, name, episodes, moved > 1e-3, **beliefs)


@jax.jit
def _draw(task: Task, key: Key) -> Episode:
    """One program: op by op, a drawn character would be a hundred small ones."""
    return task(key)


def _one_hot(targets: Array) -> bool:
    rows = np.asarray(targets)
    binary = np.all((rows == 0) | (rows == 1)) and np.all(rows.sum(-1) <= 1)
    return bool(rows.shape[-1] > 1 and binary)
