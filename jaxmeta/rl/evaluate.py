"""Returns after none, one, two, three adaptations, over tasks that were not seen."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import Key, Meta, PyTree
from jaxmeta.rl.agent import MetaAgent
from jaxmeta.rl.env import floating


class Curve(NamedTuple):
    """Returns against adaptation.

    Attributes:
      steps: how much the agent had adapted, `[k]`.
      mean: mean return over tasks, `[k]`.
      ci95: half-widths of the 95 % Student-t intervals over tasks, `[k]`.
      scores: `[k, tasks]`, the mean over the episodes of a task; compare two agents in
        pairs by them.
    """

    steps: tuple[int, ...]
    mean: np.ndarray
    ci95: np.ndarray
    scores: np.ndarray


def adaptation_curve(
    at: Callable[[int], MetaAgent],
    meta: Meta,
    tasks: Callable[[Key], PyTree],
    key: Key,
    *,
    steps: Sequence[int] = (0, 1, 2, 3),
    count: int = 200,
    episodes: int = 20,
    chunk: int = 50,
    measure: Callable[..., jax.Array] | None = None,
) -> Curve:
    """Plays after adapting, more and more, in the same tasks each time.

    Task t is a function of the key and t alone, so that two agents meet the same tasks.
    An agent whose parameters are NaN, at first or once adapted, scores NaN.

    Args:
      at: k -> the agent that adapts k times: gradient steps for `maml_pg(steps=k)`,
        episodes for `rl2(adapt_episodes=k)`.
      meta: the parameters, the same for all k.
      tasks: `key -> task`; held out if its key is not the one trained with.
      key: decides tasks and luck.
      steps: the ks.
      count: tasks, >= 2.
      episodes: played in each task after adapting.
      chunk: tasks side by side.
      measure: `(trajectory, task) -> scalar`; by default the mean return.

    Returns:
      A `Curve`.

    Raises:
      ValueError: if `count < 2`, or it is no multiple of `chunk`.

    >>> import jaxmeta as jm
    >>> env = jm.rl.bandit(2, pulls=3)
    >>> at = lambda k: jm.rl.rl2(env, jm.rl.categorical(2), hidden=4, adapt_episodes=k)
    >>> meta = at(0).init(jax.random.key(0), env.tasks(jax.random.key(1)))
    >>> adaptation_curve(at, meta, env.tasks, jax.random.key(2), steps=(0, 1),
    ...                  count=4, chunk=4, episodes=1).scores.shape
    (2, 4)
    """
    at_least(2, count=count)
    chunk = min(chunk, count)
    if count % chunk:
        raise ValueError(f"chunk: got {chunk}, wants a divisor of count {count}")
    if measure is None:
        measure = lambda trajectory, task: trajectory.returns.mean()  # noqa: E731

    def scores(agent: MetaAgent, meta: Meta):
        def one(t):
            drawing, adapting, playing = jax.random.split(jax.random.fold_in(key, t), 3)
            task = tasks(drawing)
            fast = agent.adapt(meta, task, adapting)
            found = measure(agent.play(meta, fast, task, playing, episodes), task)
            # an action drawn from no distribution is some action all the same
            real = all_real((meta, fast))
            return jnp.where(real, floating(found), jnp.nan)

        return lax.map(one, jnp.arange(count), batch_size=chunk)

    found = np.stack([jax.jit(functools.partial(scores, at(k)))(meta) for k in steps])
    found = found.astype(np.float64)
    quantile = scipy.special.stdtrit(count - 1, 0.975)
    half = quantile * found.std(1, ddof=1) / np.sqrt(count)
    return Curve(tuple(steps), found.mean(1), half, found)


def all_real(tree: PyTree) -> jax.Array:
    """Whether no number of a tree is NaN or infinite."""
    return jnp.all(jnp.stack([jnp.isfinite(x).all() for x in _numbers(tree)]))


def _numbers(tree: PyTree) -> list[jax.Array]:
    numbers = [
        x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)
    ]
    return [*numbers, jnp.zeros(())]
