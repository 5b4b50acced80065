"""What a trained learner says of a test episode: what most pictures are made of."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxmeta import criteria, train
from jaxmeta.core import Batch, Episode
from jaxmeta.functional.rows import Semi
from jaxmeta.report.finished import Finished
from jaxmeta.tasks import class_names, episode_classes
from jaxmeta.tasks.names import as_partial, is_task
from jaxmeta.train.predictions import answering


class Seen(NamedTuple):
    """One test episode, on the host.

    Attributes:
      episode: its arrays.
      outputs: what was said of the queries, `[n, ...]`.
      classes: the numbers of its classes, where they have names.
    """

    episode: Episode
    outputs: np.ndarray
    classes: np.ndarray | None


def see(run: Finished, episode: int | None = None) -> Seen | None:
    """Draws an episode, adapts, and predicts its queries.

    All pictures of a page share one compiled program, and so does the test with them: to
    compile takes longer than to run a hundred times.

    Args:
      run: the trained run.
      episode: of the test, by number; `None`: one that is no episode of the test.

    Returns:
      The episode and what was said; `None` where there is no learner, or no task that
      can be asked for an episode.
    """
    tester, task = run.tester, run.test
    if tester is None:
        return None
    key = run.drawing if episode is None else jax.random.fold_in(run.key, episode)
    sampling, adapting = jax.random.split(key)  # as `evaluate` does

    if is_task(task):
        task = as_partial(task)
        made, classes = train.draw(task, sampling), _classes(task, sampling)
    elif isinstance(task, Sequence) and task:
        made, classes = task[(episode or 0) % len(task)], None
    else:
        return None
    said = answering(tester)(run.meta, made, adapting)
    return Seen(*jax.tree.map(np.asarray, (made, said, classes)))


_classes = jax.jit(episode_classes)


class Rows(NamedTuple):
    """The rows of a batch that count.

    Attributes:
      inputs: `[n, ...]`, arrays or a tree of them.
      targets: `[n, ...]`.
      at: which rows of the batch they are, `[n]`.
    """

    inputs: np.ndarray
    targets: np.ndarray
    at: np.ndarray


def rows(batch: Batch) -> Rows:
    """Those without padding: rows of weight 0 are not drawn."""
    targets, weights = np.asarray(batch.targets), batch.weights
    there = np.ones(len(targets), bool)
    if weights is not None:
        there = (np.asarray(weights).reshape(len(targets), -1) != 0).any(1)
    inputs = batch.inputs
    if isinstance(inputs, Semi):  # examples without labels are beside, not among them
        inputs = inputs.labelled
    inputs = jax.tree.map(lambda x: np.asarray(x)[there], inputs)
    return Rows(inputs, targets[there], np.flatnonzero(there))


class Classified(NamedTuple):
    """An episode of classification.

    Attributes:
      names: of its classes, a column of the targets each.
      present: the columns that have a support example, in order.
      support: the rows that count.
      query: likewise.
      true: the class of each query.
      said: what it was taken for; -1 where the outputs are not numbers.
      sure: the probability of that, where outputs are logits.
    """

    names: list[str]
    present: np.ndarray
    support: Rows
    query: Rows
    true: np.ndarray
    said: np.ndarray
    sure: np.ndarray | None


def classified(run: Finished, episode: int | None = None) -> Classified | None:
    """`see`, for one of several classes.

    Raises:
      ValueError: targets that are no rows `[n, classes]`.
    """
    seen = see(run, episode)
    if seen is None:
        return None
    support, query = map(rows, seen.episode)
    if query.targets.ndim != 2 or query.targets.shape[1] < 2:
        shape = list(seen.episode.query.targets.shape)
        raise ValueError(f"targets: got {shape}, wants [n, classes] with 2 or more")
    outputs = seen.outputs[query.at].astype(np.float64)
    bad = np.isnan(outputs).any(-1)
    sure = softmax(outputs).max(-1) if says_how_sure(run) else None
    return Classified(
        names_of(run, seen, support.targets.shape[1]),
        np.flatnonzero((support.targets > 0).any(0)),
        support,
        query,
        query.targets.argmax(-1),
        np.where(bad, -1, outputs.argmax(-1)),
        sure,
    )


def names_of(run: Finished, seen: Seen, ways: int) -> list[str]:
    """What the classes of an episode are called; by number, where they have no names."""
    names = class_names(run.test) if is_task(run.test) else None
    if names is None or seen.classes is None:
        return [f"class {i + 1}" for i in range(ways)]
    return [names[i] if i >= 0 else "" for i in seen.classes]


def says_how_sure(run: Finished) -> bool:
    """Whether outputs are logits: scores of pairs are no probabilities."""
    tester = run.tester
    assert tester is not None
    return tester.criterion in (None, criteria.classification)


def softmax(outputs: np.ndarray) -> np.ndarray:
    """Probabilities of logits; a class that was ruled out has none."""
    with np.errstate(invalid="ignore"):
        e = np.exp(outputs - outputs.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)
