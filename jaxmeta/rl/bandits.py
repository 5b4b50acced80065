"""Bandits: what the arms are worth must be found out while pulling them.

Duan et al. 2016, RL^2, https://arxiv.org/abs/1611.02779, section 3.1.
"""

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Key
from jaxmeta.rl.env import Env


def bandit(arms: int, *, pulls: int, goal: tuple[float, float] | None = None) -> Env:
    """A Bernoulli bandit; the task is the vector of success probabilities.

        p_i ~ U[0, 1],   r ~ Bernoulli(p_a)

    With `goal=(low, high)` one arm, the goal, pays with probability `high`, the others
    with `low`. An episode is `pulls` pulls; the observation is the constant 1.

    Args:
      arms: how many.
      pulls: steps of an episode.
      goal: the two probabilities of a goal-conditioned bandit; independent uniform
        probabilities without.

    Returns:
      An `Env` with tasks `[arms]`; actions are integers.

    Raises:
      ValueError: for fewer than two arms or one pull, or no probabilities.

    References:
      Duan et al. 2016, RL^2, arXiv:1611.02779, section 3.1.

    >>> env = bandit(5, pulls=10)
    >>> env.tasks(jax.random.key(0)).shape
    (5,)
    """
    if arms < 2 or pulls < 1:
        raise ValueError(f"arms, pulls: got {arms}, {pulls}, wants >= 2 and >= 1")
    if goal is not None and not all(0 <= p <= 1 for p in goal):
        raise ValueError(f"goal: got {goal}, wants two probabilities")

    def tasks(key: Key) -> Array:
        if goal is None:
            return jax.random.uniform(key, (arms,))
        low, high = goal
        return (
            jnp.full(arms, low, float)
            .at[jax.random.randint(key, (), 0, arms)]
            .set(high)
        )

    def reset(key: Key, probabilities: Array):
        del key
        return jnp.ones(1, probabilities.dtype), ()

    def step(key: Key, state, action: Array, probabilities: Array):
        value = jax.random.bernoulli(key, probabilities[action])
        seen = jnp.ones(1, probabilities.dtype)
        return seen, state, value.astype(probabilities.dtype), jnp.array(False)

    return Env(reset, step, tasks, pulls)
