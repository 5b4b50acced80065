"""Successive halving: a little training for many settings, more for the better ones."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from jaxmeta.core import Array, Key, Keys, PyTree
from jaxmeta.train.population import Make, fit_population, length
from jaxmeta.train.trainer import TrainState


class Halving(NamedTuple):
    """What successive halving leaves.

    Attributes:
      best: which of the hyper-parameters won, an integer scalar.
      survivors: for each rung, which of them were in it, `[n_r]`, best first from the
        second rung on.
      scores: for each rung, their scores at its end, `[n_r, seeds]`.
      state: the winner's `TrainState`s, leaves `[seeds, ...]`.
    """

    best: Array
    survivors: tuple[Array, ...]
    scores: tuple[Array, ...]
    state: TrainState


def successive_halving(
    make: Make,
    hypers: PyTree,
    sample: Callable[[Key], PyTree],
    keys: Keys,
    *,
    rungs: tuple[int, ...],
    batch: int,
    score: Callable[[TrainState, dict[str, Array]], Array] | None = None,
    keep: float = 0.5,
    mesh: Mesh | None = None,
) -> Halving:
    """Trains many settings a little, then the better half of them a little more.

        n_{r+1} = max(1, floor(keep n_r)),   by the mean score over the seeds

    All rungs are one program: how many are kept is known beforehand, which ones is not.

    Args:
      make: as in `fit_population`.
      hypers: leaves `[H, ...]`.
      sample: as in `fit`.
      keys: `[S]`.
      rungs: outer steps of each rung; the survivors go on where they were.
      batch: draws an outer step.
      score: `(state, metrics of the rung) -> scalar` of one member, less is better; by
        default its mean loss over the second half of the rung. Give it held-out data,
        if the loss of training could be had by overfitting. What is not finite ranks
        last.
      keep: the share that survives a rung, in (0, 1).
      mesh: as in `fit_population`; its devices should divide the seeds, since the number
        of settings shrinks.

    Returns:
      A `Halving`.

    Raises:
      ValueError: for no rung, `keep` out of range; and as `fit_population`.

    References:
      Jamieson and Talwalkar 2016, arXiv:1502.07943.

    >>> import optax, jaxmeta as jm
    >>> learner = jm.protonet(jm.models.mlp(None, hidden=(4,)))
    >>> make = lambda rate: jm.make_trainer(jm.episodic(learner), optax.sgd(rate))
    >>> rates, keys = jnp.array([0.1, 0.01, 1e-3]), jax.random.split(jax.random.key(0), 2)
    >>> found = successive_halving(
    ...     make, rates, jm.testing.probe(), keys, rungs=(2, 2), batch=2
    ... )
    >>> [len(rung) for rung in found.survivors]
    [3, 1]
    """
    if not rungs:
        raise ValueError("rungs: got none, wants numbers of steps")
    if not 0 < keep < 1:
        raise ValueError(f"keep: got {keep}, wants a number in (0, 1)")
    score = late_loss if score is None else score
    alive = jnp.arange(length(hypers))
    survivors, scores, states = [], [], None
    for rung, steps in enumerate(rungs):
        if rung:
            order = _ranking(scores[-1])[: max(1, int(keep * len(alive)))]
            alive = alive[order]
            states = jax.tree.map(lambda x, order=order: x[order], states)
        chosen = jax.tree.map(lambda x, alive=alive: x[alive], hypers)
        states, metrics = fit_population(
            make,
            chosen,
            sample,
            keys,
            steps=steps,
            batch=batch,
            states=states,
            mesh=mesh,
        )
        survivors.append(alive)
        scores.append(jax.vmap(jax.vmap(score))(states, metrics))
    first = _ranking(scores[-1])[0]
    best = jax.tree.map(lambda x: x[first], states)
    return Halving(alive[first], tuple(survivors), tuple(scores), best)


def late_loss(state: TrainState, metrics: dict[str, Array]) -> Array:
    """The mean loss over the second half of a run.

    >>> float(late_loss(None, {"loss": jnp.array([9.0, 9.0, 2.0, 4.0])}))
    3.0
    """
    del state
    losses = metrics["loss"]
    return losses[losses.shape[0] // 2 :].mean()


def _ranking(scores: Array) -> Array:
    """Best first, by the mean over the seeds; what diverged is last."""
    means = scores.mean(1)
    return jnp.argsort(jnp.where(jnp.isfinite(means), means, jnp.inf))
