"""Heads on features of a frozen network: which one, and how sure it may be."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta import learners, models
from jaxmeta.core import Array, Batch, Episode, Meta, MetaLearner, PyTree
from jaxmeta.criteria import as_criterion
from jaxmeta.functional import normalise

MOST_LEFT_OUT = 100
"""Support pictures that are left out in turn: as many say how good a head is."""
TOGETHER = MOST_LEFT_OUT
"""Queries that are answered at a time."""
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
    n, v, d = support.shape
    both = np.concatenate([support.reshape(n * v, d), query])
    found = np.asarray(centred(both, support.mean((0, 1))))
    return found[: n * v].reshape(n, v, d), found[n * v :]


@jax.jit
def centred(x: Array, mean: Array) -> Array:
    """Features `[n, d]` less a mean, at length 1."""
    return normalise(x, "cl2n", mean=mean)


def answered(learner: MetaLearner, seen: Batch, asked: np.ndarray) -> np.ndarray:
    """What a head says of features `[m, d]` after it has seen a support: logits `[m, c]`.

    To compile takes far longer than to run. So whatever a head is asked goes through the
    same two programs, some queries at a time, of which the last are made up.
    """
    fast, m = _learned(learner, seen), len(asked)
    parts = -(-m // TOGETHER)
    filled = np.resize(asked, (parts * TOGETHER, asked.shape[1]))
    said = [_said(learner, seen, fast, part) for part in np.split(filled, parts)]
    return np.concatenate(said)[:m]


@functools.partial(jax.jit, static_argnames="learner")
def _learned(learner: MetaLearner, seen: Batch) -> PyTree:
    return learner.adapt(_meta_of(learner, seen), seen, jax.random.key(0))


@functools.partial(jax.jit, static_argnames="learner")
def _said(learner: MetaLearner, seen: Batch, fast: PyTree, asked: Array) -> Array:
    said = learner.predict(_meta_of(learner, seen), fast, asked)
    return as_criterion(learner.criterion).prepare(said, seen)


def _meta_of(learner: MetaLearner, seen: Batch) -> Meta:
    """The parameters of a head, which learns nothing from an episode."""
    return learner.init(jax.random.key(0), Episode(seen, seen))


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
    whole, owner = support_of(x, labels, ways), np.repeat(np.arange(len(x)), x.shape[1])
    plain = x[rows, 0]
    said = np.stack([
        answered(learner, whole._replace(weights=weights(owner != row)), plain)[i]
        for i, row in enumerate(rows)
    ])  # fmt: skip
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
    return answered(learner, support_of(x, labels, ways), query) / temperature


def support_of(x: np.ndarray, labels: np.ndarray, ways: int) -> Batch:
    """All views of all pictures, as examples; all of them count."""
    n, v, d = x.shape
    targets = np.eye(ways, dtype=x.dtype)[np.repeat(labels, v)]
    counts = weights(np.ones(n * v, bool))
    return Batch(jnp.asarray(x.reshape(n * v, d)), jnp.asarray(targets), counts)


def weights(stay: np.ndarray) -> Array:
    """1 where an example counts, 0 where it does not."""
    return jnp.asarray(stay, jnp.float32)


def _temperature(said: np.ndarray, true: np.ndarray) -> float:
    """Of those tried, the one under which what was left out is likeliest."""
    best = []
    for t in TEMPERATURES:
        z = said / t
        z = z - z.max(1, keepdims=True)
        log = z - np.log(np.exp(z).sum(1, keepdims=True))
        best.append(-np.mean(log[np.arange(len(true)), true]))
    return float(TEMPERATURES[int(np.argmin(best))])
