"""An environment as two pure functions, and many episodes of it in one scan."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Key, PyTree


class Env(NamedTuple):
    """A family of control problems; which one it is, the task says.

    Attributes:
      reset: `(key, task) -> (observation, state)`; an observation is an array, or a
        pytree of some.
      step: `(key, state, action, task) -> (observation, state, reward, done)`. The
        reward is a scalar, integers and booleans allowed. What comes after `done` is
        played on but masked out: nothing resets by itself.
      tasks: `key -> task`, the distribution over tasks; a task is any pytree.
      horizon: steps of one episode, at most.
    """

    reset: Callable[[Key, PyTree], tuple[PyTree, PyTree]]
    step: Callable[[Key, PyTree, Array, PyTree], tuple[PyTree, PyTree, Array, Array]]
    tasks: Callable[[Key], PyTree]
    horizon: int


class Trajectory(NamedTuple):
    """`n` episodes of `t` steps.

    Attributes:
      observations: leaves `[n, t, ...]`, what was seen before each action.
      actions: `[n, t, ...]`.
      rewards: `[n, t]`, floating point, zero after the end of the episode.
      mask: `[n, t]`, one up to the step that ends the episode, then zero.
      last: leaves `[n, ...]`, the observation after the last step of the episode.
    """

    observations: PyTree
    actions: Array
    rewards: Array
    mask: Array
    last: PyTree

    @property
    def returns(self) -> Array:
        """The undiscounted return of each episode, `[n]`."""
        return self.rewards.sum(-1)


def rollout(
    env: Env,
    act: Callable[[PyTree, Key], Array],
    task: PyTree,
    key: Key,
    *,
    episodes: int,
) -> Trajectory:
    """Plays some episodes of one task side by side, in one scan over time.

        o_0 = reset,   a_t = act(o_t),   (o_{t+1}, r_t, done) = step(a_t)

    Args:
      env: the environment.
      act: `(observations [n, ...], key) -> actions [n, ...]`.
      task: which problem.
      key: decides everything.
      episodes: n >= 1.

    Returns:
      A `Trajectory` of `env.horizon` steps.

    Raises:
      ValueError: if `episodes < 1`.

    >>> from jaxmeta.rl import point_navigation
    >>> env = point_navigation(horizon=5)
    >>> still = lambda observations, key: jnp.zeros_like(observations)
    >>> task = env.tasks(jax.random.key(0))
    >>> rollout(env, still, task, jax.random.key(1), episodes=3).rewards.shape
    (3, 5)
    """
    at_least(1, episodes=episodes)
    start, key = jax.random.split(key)
    observation, state = jax.vmap(env.reset, (0, None))(
        jax.random.split(start, episodes), task
    )
    step_all = jax.vmap(env.step, (0, 0, 0, None))

    def step(carry, t):
        seen, state, alive = carry
        acting, moving = jax.random.split(jax.random.fold_in(key, t))
        actions = act(seen, acting)
        keys = jax.random.split(moving, episodes)
        after, state, rewards, done = step_all(keys, state, actions, task)
        rewards = alive * floating(rewards)
        out = (seen, actions, rewards, alive)
        return (where_alive(alive, after, seen), state, going_on(alive, done)), out

    # time counts in the dtype of the rewards, which may be float64
    like = jax.eval_shape(step_all, jax.random.split(key, episodes), state,
                          jax.eval_shape(act, observation, key), task)  # fmt: skip
    alive = jnp.ones(episodes, jax.eval_shape(floating, like[2]).dtype)
    carry, out = lax.scan(step, (observation, state, alive), jnp.arange(env.horizon))
    observations, actions, rewards, mask = jax.tree.map(
        lambda x: jnp.swapaxes(x, 0, 1), out
    )
    return Trajectory(observations, actions, rewards, mask, carry[0])


def floating(rewards: Array) -> Array:
    """Rewards as numbers that can be averaged: integers and booleans become floats."""
    rewards = jnp.asarray(rewards)
    if jnp.issubdtype(rewards.dtype, jnp.floating):
        return rewards
    return rewards.astype(float)


def where_alive(alive: Array, after: PyTree, before: PyTree) -> PyTree:
    """What is seen next; an episode that is over stays where it ended."""

    def one(new, old):
        there = (alive > 0).reshape(alive.shape + (1,) * (new.ndim - alive.ndim))
        return jnp.where(there, new, old)

    return jax.tree.map(one, after, before)


def going_on(alive: Array, done: Array) -> Array:
    """1 where the next step still counts, in the dtype of `alive`."""
    return alive * (1 - jnp.asarray(done).astype(alive.dtype))
