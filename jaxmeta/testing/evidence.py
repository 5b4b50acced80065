"""Guards of the data and the arithmetic of an evaluation; they need no learner."""

from collections.abc import Callable, Iterable, Mapping

import jax
import numpy as np
import scipy.stats

from jaxmeta.core import Episode, Key, Task
from jaxmeta.data import Dataset, Splits, find_duplicates, from_counts

FALSE_ALARM = 0.001
"""How often a guard may accuse a right program."""


class Leak(AssertionError):
    """An evaluation knows what it should not; the text says what, and how it shows."""


def disjoint(splits: Splits) -> None:
    """Refuses splits that share a class or, bit for bit, an example.

    Args:
      splits: as a reader returns them.

    Raises:
      Leak: naming the first class or the first pair of examples.

    >>> one = lambda name, x: from_counts(np.array([[x]]), [1], (name,))
    >>> disjoint(Splits(one("a", 1), one("b", 2), one("c", 3)))
    """
    for i, a in enumerate(Splits._fields):
        for b in Splits._fields[i + 1 :]:
            common = {*getattr(splits, a).names} & {*getattr(splits, b).names}
            if common:
                raise Leak(
                    f"class {min(common)!r} is in both {a} and {b} ({len(common)} are)"
                )
    found = find_duplicates(splits)
    if found:
        raise Leak(f"the same example twice: {found[0]} ({len(found)} pairs)")


def fresh_queries(episode: Episode) -> None:
    """Refuses an episode with an example in both its support and its query set.

    Args:
      episode: a task.

    Raises:
      Leak: naming the rows.

    >>> import jaxmeta as jm
    >>> fresh_queries(jm.testing.probe()(jax.random.key(0)))
    """
    rows = [
        np.concatenate(
            [np.asarray(x).reshape(len(x), -1) for x in jax.tree.leaves(part.inputs)],
            1,
        )
        for part in episode
    ]
    seen = {row.tobytes(): i for i, row in enumerate(rows[0])}
    for j, row in enumerate(rows[1]):
        if row.tobytes() in seen:
            raise Leak(f"query {j} is support example {seen[row.tobytes()]}")


def burst_leak(
    make_task: Callable[[Dataset], Task], key: Key, *, frames: int = 30, episodes=400
) -> float:
    """Whether support and query of a class are neighbours in the film they come from.

        P(|i - j| = d) = 2 (F - d) / (F (F - 1))   if frames are drawn at random

    Films and bursts lie in files in order. A sampler that takes neighbouring rows gives
    queries that are nearly copies of the support.

    Args:
      make_task: data -> a task with one support and one query example a class.
      key: for the episodes.
      frames: F, examples of each class.
      episodes: how many.

    Returns:
      p of the chi-square test.

    Raises:
      Leak: if p is below 0.001.

    >>> import jaxmeta as jm
    >>> make = lambda data: jm.tasks.few_shot(data, 2, 1, 1)
    >>> burst_leak(make, jax.random.key(0)) > 0.001
    True
    """
    classes = 4
    film = np.tile(np.arange(frames, dtype=np.float32), classes)[:, None]
    data = from_counts(film, [frames] * classes, tuple("abcd"))
    task = make_task(data)
    episode = jax.jit(jax.vmap(task))(jax.random.split(key, episodes))
    gaps = np.abs(
        np.asarray(episode.support.inputs) - np.asarray(episode.query.inputs)
    ).ravel()
    counts = np.bincount(gaps.round().astype(int), minlength=frames)[:frames]
    apart = np.arange(1, frames)
    expected = 2 * (frames - apart) / (frames * (frames - 1)) * gaps.size
    p = 0.0
    if not counts[0]:
        observed, wanted = _merged(counts[1:], expected)
        p = float(scipy.stats.chisquare(observed, wanted).pvalue)
    if p < FALSE_ALARM:
        near = float((gaps <= 3).mean())
        raise Leak(f"support and query are neighbours: {near:.0%} within 3 frames")
    return p


def _merged(observed: np.ndarray, expected: np.ndarray, least: float = 5.0):
    """Joins the sparse bins at the end, as the chi-square test wants."""
    last = int((expected >= least).sum())
    joined = [*observed[: last - 1], observed[last - 1 :].sum()]
    return joined, [*expected[: last - 1], expected[last - 1 :].sum()]


def coverage(
    interval: Callable[[np.ndarray], tuple[float, float]],
    draw: Callable[[np.random.Generator], tuple[np.ndarray, float]],
    *,
    studies: int = 2000,
    seed: int = 0,
) -> float:
    """How often a nominal interval holds the truth, in simulated studies.

    Args:
      interval: scores -> mean and half-width, such as `jaxmeta.train.interval`.
      draw: a random generator -> the scores of a study, and the true mean.
      studies: how many.
      seed: of the generator.

    Returns:
      The fraction of studies whose interval holds the truth.

    >>> draw = lambda rng: (rng.normal(size=5), 0.0)
    >>> import jaxmeta as jm
    >>> 0.9 < coverage(jm.train.interval, draw, studies=300) < 1.0
    True
    """
    rng = np.random.default_rng(seed)
    hits = 0
    for _ in range(studies):
        scores, truth = draw(rng)
        mean, half = interval(scores)
        hits += abs(mean - truth) <= half
    return hits / studies


def comparable(results: Iterable[Mapping[str, object]]) -> None:
    """Refuses a table in which some results are transductive and others are not.

    Args:
      results: what result.json files hold.

    Raises:
      ValueError: naming one of each kind, or a result that does not say.

    >>> comparable([{"recipe": "a", "transductive": False}])
    """
    kinds: dict[bool, str] = {}
    for result in results:
        name = str(result.get("recipe", "a result"))
        if not isinstance(result.get("transductive"), bool):
            raise ValueError(
                f"transductive: got nothing in {name}, wants true or false"
            )
        kinds.setdefault(bool(result["transductive"]), name)
    if len(kinds) == 2:
        raise ValueError(
            f"transductive: got {kinds[True]} beside {kinds[False]}, "
            "wants results of one kind in a table"
        )
