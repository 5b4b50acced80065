"""Heads on features of a frozen network: which one, and how sure it may be."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import learners, models
from jaxmeta.core import Array, Batch, Episode, MetaLearner
from jaxmeta.criteria import as_criterion
from jaxmeta.functional import normalise

MOST_LEFT_OUT = 100
"""Support pictures that are left out in turn: as many say how good a head is."""
TEMPERATURES = 2.0 ** np.arange(-5, 6)


def heads() -> dict[str, MetaLearner]:
    """Every head by name; where two do equally well, the earlier is chosen.

    They get features that are centred by the mean of the support and of length 1, so
    that "protonet" is the nearest centred mean.
    """
    flat = models.flat()
    return {
        "protonet": learners.protonet(flat, temperature=0.1),
        "ridge": learners.r2d2(flat),
        "logistic": learners.logistic_regression(flat, tolerance=1e-4),
        "svm": learners.metaoptnet(flat, C=1.0, iterations=300),
        "matching": learners.matching_network(flat),
        "tip_adapter": learners.tip_adapter(flat),
    }


class Tried(NamedTuple):
    """A head, judged on support pictures that it was not given.

    Attributes:
      accuracy: leave-one-out; `None` where no class has two pictures.
      temperature: what its outputs are divided by, so that it is as sure as it is right.
      rows: how many were left out, each in turn.
      at: which ones, `[rows]`.
      said: the logits of each, `[rows, c]`; `None` where none was left out.
    """

    accuracy: float | None
    temperature: float
    rows: int
    at: np.ndarray = np.zeros(0, int)
    said: np.ndarray | None = None


def footing(support: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both less the mean of the support, at length 1.

    Args:
      support: `[n, v, d]`, v views of each picture.
      query: `[m, d]`.

    Returns:
      Arrays of the same shapes.
    """
    mean = support.mean((0, 1))
    n, v, d = support.shape
    flat = normalise(jnp.asarray(support.reshape(n * v, d)), "cl2n", mean=mean)
    return np.asarray(flat).reshape(n, v, d), np.asarray(
        normalise(jnp.asarray(query), "cl2n", mean=mean)
    )


def tried(learner: MetaLearner, x: np.ndarray, labels: np.ndarray, ways: int) -> Tried:
    """Leaves one support picture out at a time, with all its views, and asks for it.

    Args:
      learner: a head.
      x: features `[n, v, d]`, the picture itself first.
      labels: `[n]`.
      ways: classes.

    Returns:
      A `Tried`.
    """
    counts = np.bincount(labels, minlength=ways)
    rows = np.flatnonzero(counts[labels] > 1)
    if not len(rows):
        return Tried(None, 1.0, 0)
    if len(rows) > MOST_LEFT_OUT:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_LEFT_OUT).astype(int)]
    whole, key = support_of(x, labels, ways), jax.random.key(0)
    meta = meta_of(learner, whole)
    views, criterion = x.shape[1], as_criterion(learner.criterion)
    owner = jnp.repeat(jnp.arange(len(x)), views)

    @jax.jit
    def outputs(meta, whole: Batch, plain: Array, rows: Array) -> Array:
        def one(row):
            seen = whole._replace(weights=(owner != row).astype(plain.dtype))
            fast = learner.adapt(meta, seen, key)
            said = learner.predict(meta, fast, plain[row][None])
            return criterion.prepare(said, seen)[0]

        return jax.lax.map(one, rows, batch_size=20)

    said = np.asarray(outputs(meta, whole, jnp.asarray(x[:, 0]), jnp.asarray(rows)))
    true = labels[rows]
    accuracy = float(np.mean(said.argmax(1) == true))
    temperature = _temperature(said.astype(float), true)
    return Tried(accuracy, temperature, len(rows), rows, said)


def predicted(
    learner: MetaLearner,
    x: np.ndarray,
    labels: np.ndarray,
    ways: int,
    query: np.ndarray,
    temperature: float,
) -> np.ndarray:
    """Logits `[m, c]` of the queries, from all of the support, by the temperature."""
    whole, key = support_of(x, labels, ways), jax.random.key(0)
    meta = meta_of(learner, whole)

    @jax.jit
    def run(meta, whole, query):
        fast = learner.adapt(meta, whole, key)
        said = learner.predict(meta, fast, query)
        return as_criterion(learner.criterion).prepare(said, whole) / temperature

    return np.asarray(run(meta, whole, jnp.asarray(query)))


def support_of(x: np.ndarray, labels: np.ndarray, ways: int) -> Batch:
    """All views of all pictures, as examples."""
    n, v, d = x.shape
    rows = jnp.asarray(x.reshape(n * v, d))
    return Batch.of_labels(rows, np.repeat(labels, v), ways)


def meta_of(learner: MetaLearner, whole: Batch):
    """The parameters of a head, which learns nothing from them."""
    return learner.init(jax.random.key(0), Episode(whole, whole))


def _temperature(said: np.ndarray, true: np.ndarray) -> float:
    """Of those tried, the one under which what was left out is likeliest."""
    best = []
    for t in TEMPERATURES:
        z = said / t
        z = z - z.max(1, keepdims=True)
        log = z - np.log(np.exp(z).sum(1, keepdims=True))
        best.append(-np.mean(log[np.arange(len(true)), true]))
    return float(TEMPERATURES[int(np.argmin(best))])
