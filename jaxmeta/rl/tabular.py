"""Small Markov decision processes given by their tables.

Duan et al. 2016, RL^2, https://arxiv.org/abs/1611.02779, section 3.2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.checks import at_least, not_negative
from jaxmeta.core import Array, Key
from jaxmeta.rl.env import Env


class Mdp(NamedTuple):
    """A tabular Markov decision process.

    Attributes:
      transitions: P(s' | s, a), `[s, a, s]`.
      rewards: mean reward of each action in each state, `[s, a]`.
    """

    transitions: Array
    rewards: Array


def tabular(
    states: int = 10, actions: int = 5, *, horizon: int = 10, noise: float = 1.0
) -> Env:
    """Random tabular processes, as in RL^2: nothing is known of a new one.

        P(. | s, a) ~ Dirichlet(1, ..., 1),   mu(s, a) ~ N(1, 1),   r ~ N(mu, noise^2)

    Every episode starts in state 0; the observation is the state as a one-hot row.

    Args:
      states: how many.
      actions: how many.
      horizon: steps of an episode.
      noise: standard deviation of the reward around its mean.

    Returns:
      An `Env` whose task is an `Mdp`; actions are integers.

    Raises:
      ValueError: for a size below 1 or negative noise.

    References:
      Duan et al. 2016, RL^2, arXiv:1611.02779, section 3.2.

    >>> env = tabular(4, 2, horizon=3)
    >>> jax.tree.map(jnp.shape, env.tasks(jax.random.key(0)))
    Mdp(transitions=(4, 2, 4), rewards=(4, 2))
    """
    at_least(1, states=states, actions=actions, horizon=horizon)
    not_negative(noise=noise)

    def tasks(key: Key) -> Mdp:
        moves, values = jax.random.split(key)
        transitions = jax.random.dirichlet(moves, jnp.ones(states), (states, actions))
        return Mdp(transitions, 1 + jax.random.normal(values, (states, actions)))

    def seen(state: Array, task: Mdp) -> Array:
        return jax.nn.one_hot(state, task.rewards.shape[0], dtype=task.rewards.dtype)

    def reset(key: Key, task: Mdp):
        del key
        state = jnp.zeros((), "int32")
        return seen(state, task), state

    def step(key: Key, state: Array, action: Array, task: Mdp):
        moving, paying = jax.random.split(key)
        reward = task.rewards[state, action]
        reward += noise * jax.random.normal(paying, (), reward.dtype)
        odds = jnp.log(task.transitions[state, action])
        state = jax.random.categorical(moving, odds).astype("int32")
        return seen(state, task), state, reward, jnp.array(False)

    return Env(reset, step, tasks, horizon)
