"""Guards of a learner's score: it must not know what it could not know."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from jaxmeta import metrics
from jaxmeta.core import Episode, Key, Meta, MetaLearner, Task
from jaxmeta.testing.evidence import FALSE_ALARM, Leak


def query_independence(
    learner: MetaLearner, meta: Meta, episode: Episode, key: Key
) -> float:
    """How far a query's logits move with the company it is in.

        max |f(q_i | Q) - f(q_i | Q')|,   Q' = q_i alone, Q shuffled, Q sorted by class

    Args:
      learner: the method.
      meta: its parameters.
      episode: one task with at least two queries.
      key: for `adapt`.

    Returns:
      The largest move, relative to the larger of 1 and the logit. Above 1e-5 (float32)
      the method is transductive and its results have to say so.

    >>> import jaxmeta as jm
    >>> learner = jm.protonet(jm.models.mlp(None, hidden=(4,)))
    >>> episode = jm.testing.probe()(jax.random.key(0))
    >>> meta = learner.init(jax.random.key(1), episode)
    >>> query_independence(learner, meta, episode, jax.random.key(2)) < 1e-5
    True
    """
    fast = jax.jit(learner.adapt)(meta, episode.support, key)
    predict = jax.jit(lambda inputs: learner.predict(meta, fast, inputs))
    together = predict(episode.query.inputs)
    n = len(together)
    shuffled = jax.random.permutation(jax.random.key(0), n)
    by_class = jnp.argsort(episode.query.targets.argmax(-1), stable=True)
    scale = jnp.maximum(1.0, jnp.abs(together))

    def pick(rows):
        return jax.tree.map(lambda x: x[rows], episode.query.inputs)

    gaps = [
        (predict(pick(rows)) - together[rows]) / scale[rows]
        for rows in (shuffled, by_class)
    ]
    for i in range(min(n, 8)):
        alone = predict(pick(jnp.full(n, i)))[:1]  # one shape: one program
        gaps.append((alone - together[i]) / scale[i])
        gaps.append((predict(pick(jnp.array([i]))) - together[i]) / scale[i])
    return max(float(jnp.max(jnp.abs(gap))) for gap in gaps)


def label_null(
    learner: MetaLearner,
    meta: Meta,
    task: Task,
    key: Key,
    *,
    episodes: int = 1000,
    empty: bool = False,
) -> tuple[float, float, float]:
    """Accuracy with support labels drawn at random: chance, or labels leak.

        |acc - 1/N| <= t_{.9995} s / sqrt(episodes)

    Args:
      learner: the method, trained or not.
      meta: its parameters.
      task: a classification task.
      key: for everything.
      episodes: how many.
      empty: leave the support set out altogether (weights of 0) instead.

    Returns:
      `(accuracy, 1/N, band)`.

    Raises:
      Leak: outside the band.

    >>> import jaxmeta as jm
    >>> learner = jm.protonet(jm.models.mlp(None, hidden=(4,)))
    >>> task = jm.testing.probe()
    >>> meta = learner.init(jax.random.key(1), task(jax.random.key(0)))
    >>> label_null(learner, meta, task, jax.random.key(2), episodes=50)[1]
    0.3333333333333333
    """

    def one(key):
        drawing, labelling, adapting = jax.random.split(key, 3)
        episode = task(drawing)
        support = episode.support.targets
        labels = jax.random.randint(labelling, (len(support),), 0, support.shape[1])
        targets = jax.nn.one_hot(labels, support.shape[1], dtype=support.dtype)
        shown = episode.support._replace(targets=targets)
        if empty:
            shown = shown._replace(weights=jnp.zeros(len(support), support.dtype))
        # raw outputs: where no class is known, a criterion may take all of them out
        fast = learner.adapt(meta, shown, adapting)
        outputs = learner.predict(meta, fast, episode.query.inputs)
        ways, query = jnp.asarray(support.shape[1]), episode.query
        return metrics.accuracy(outputs, query.targets, query.weights), ways

    scores, ways = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=50))(
        jax.random.split(key, episodes)
    )
    scores, chance = np.asarray(scores, np.float64), 1 / int(ways[0])
    # Queries of an episode share its labels, so the episode is the unit; a constant
    # prediction has no spread at all and is exactly chance.
    spread = max(float(scipy.stats.sem(scores)), 1e-9)
    band = float(scipy.stats.t.ppf(1 - FALSE_ALARM / 2, episodes - 1)) * spread
    mean = float(scores.mean())
    if abs(mean - chance) > band + 1e-6:
        raise Leak(f"accuracy {mean:.4f} without labels, chance is {chance:.4f}")
    return mean, chance, band
