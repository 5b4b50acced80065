"""Episodes with strangers: which score tells them, and where to draw the line."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta.checks import at_least, one_of
from jaxmeta.core import Array, Criterion, Episode, Key, Meta, MetaLearner
from jaxmeta.criteria import as_criterion
from jaxmeta.functional.familiarity import SCORES, Score, familiarity
from jaxmeta.tasks import OpenEpisode
from jaxmeta.train.open_set import WRONG, OpenSet, judged
from jaxmeta.train.policy import platform_of, task_chunk
from jaxmeta.train.predictions import predicted


class OpenScores(NamedTuple):
    """Familiarity of every query of some episodes, by every score.

    Attributes:
      known: score -> `[episodes, n]`.
      strangers: score -> `[episodes, m]`.
      accuracy: of the known queries, none turned away, `[episodes]`.
    """

    known: Mapping[str, Array | np.ndarray]
    strangers: Mapping[str, Array | np.ndarray]
    accuracy: Array | np.ndarray


def open_scores(
    learner: MetaLearner,
    meta: Meta,
    task: Callable[[Key], OpenEpisode],
    key: Key,
    *,
    episodes: int = 600,
    criterion: Criterion | Callable | None = None,
) -> OpenScores:
    """Adapts to `episodes` tasks and asks for known queries and strangers together.

    Args:
      learner: the method.
      meta: its parameters.
      task: of `tasks.open_set`.
      key: fixes the episodes, as in `evaluate`.
      episodes: how many, >= 2.
      criterion: what takes out classes; the learner's own by default.

    Returns:
      `OpenScores`.

    Raises:
      ValueError: fewer than two episodes.
    """
    at_least(2, episodes=episodes)
    criterion = as_criterion(learner.criterion if criterion is None else criterion)

    def one(meta, task, key):
        sampling, adapting = jax.random.split(key)
        drawn = task(sampling)
        (support, query), strangers = drawn.known, drawn.strangers
        n = len(query.targets)
        inputs = jax.tree.map(lambda *x: jnp.concatenate(x), query.inputs, strangers)
        fast = learner.adapt(meta, support, adapting)
        both = Episode(support, query._replace(inputs=inputs))
        outputs = predicted(learner, criterion, meta, fast, both)
        found = {score: familiarity(outputs, score) for score in SCORES}
        right = outputs[:n].argmax(-1) == query.targets.argmax(-1)
        known, rest = (
            {score: x[part] for score, x in found.items()}
            for part in (slice(n), slice(n, None))
        )
        return OpenScores(known, rest, right.mean())

    task = task if isinstance(task, Partial) else Partial(task)
    keys = jax.vmap(lambda t: jax.random.fold_in(key, t))(jnp.arange(episodes))

    @jax.jit
    def all_of(meta, task, keys):
        # as many side by side as an evaluation has
        drawn = jax.eval_shape(jax.vmap(task), keys).known
        size = min(task_chunk(drawn, platform_of(meta)), 64)
        return jax.lax.map(lambda k: one(meta, task, k), keys, batch_size=size)

    return jax.tree.map(np.asarray, all_of(meta, task, keys))


def evaluate_open_set(
    learner: MetaLearner,
    meta: Meta,
    task: Callable[[Key], OpenEpisode],
    key: Key,
    *,
    episodes: int = 600,
    score: Score | Literal["auto"] = "auto",
    threshold: float | None = None,
    wrong: float = WRONG,
    criterion: Criterion | Callable | None = None,
) -> OpenSet:
    """How well a trained learner turns strangers away.

    On validation classes it finds the threshold, which holds for other classes as far as
    these are like them; on test classes it judges one that was found.

    Args:
      learner: the method.
      meta: its parameters.
      task: of `tasks.open_set`.
      key: fixes the episodes.
      episodes: how many, >= 2.
      score: of `functional.familiarity`; "auto": the one of larger AUROC here.
      threshold: found before, with its score; `None`: the highest that turns away at
        most a share `wrong` of the known queries here.
      wrong: for that.
      criterion: the learner's own by default.

    Returns:
      An `OpenSet`.

    Raises:
      ValueError: fewer than two episodes, an unknown score, a threshold of no score.

    >>> import jaxmeta as jm
    >>> data = jm.data.from_counts(np.eye(12), [4, 4, 4], ("a", "b", "c"))
    >>> task = jm.tasks.open_set(jm.tasks.few_shot(data, 3, 1, 3), 2, 1, 2, strangers=1)
    >>> learner = jm.protonet(jm.models.mlp(None, hidden=(8,)))
    >>> meta = learner.init(jax.random.key(0), task(jax.random.key(1)).known)
    >>> evaluate_open_set(learner, meta, task, jax.random.key(2), episodes=4).episodes
    4
    """
    one_of((*SCORES, "auto"), score=score)
    if threshold is not None and score == "auto":
        raise ValueError("score: got 'auto', wants that of the threshold")
    found = open_scores(
        learner, meta, task, key, episodes=episodes, criterion=criterion
    )
    return best_of(
        found.known, found.strangers, score=score, threshold=threshold, wrong=wrong
    )


def best_of(
    known, strangers, *, score: Score | Literal["auto"], threshold=None, wrong=WRONG
) -> OpenSet:
    """`judged` of one score, or of that which has the largest AUROC, the first of equals."""
    names = SCORES if score == "auto" else (score,)
    tried = [
        judged(known[n], strangers[n], score=n, threshold=threshold, wrong=wrong)
        for n in names
    ]
    return max(tried, key=lambda found: found.auroc)
