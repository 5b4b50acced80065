"""Point navigation in the plane: the reference problem of meta-reinforcement learning.

Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400, section 5.3.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxmeta.checks import one_of, positive
from jaxmeta.core import Array, Key
from jaxmeta.rl.env import Env


def point_navigation(
    *,
    horizon: int = 100,
    reward: Literal["distance", "squared"] = "squared",
    speed: float = 0.1,
    size: float = 0.5,
    reached: float | None = 0.01,
) -> Env:
    """A point in the plane walks to a goal that it is not told.

        x_0 = 0,   x_{t+1} = x_t + clip(a_t, -speed, speed)
        r_t = -||x_{t+1} - goal||^2  ("squared")  or  -||x_{t+1} - goal||  ("distance")

    The observation is x; only rewards tell where the goal is. The paper's text says
    squared distance, while much published code returns the distance itself: returns of
    the two are not comparable, so say which one a result used.

    Args:
      horizon: steps of an episode.
      reward: "squared" or "distance".
      speed: the most one coordinate moves in a step.
      size: goals are uniform in [-size, size]^2.
      reached: the episode ends this close to the goal; `None` for never.

    Returns:
      An `Env` with the goal `[2]` for a task; observations and actions are `[2]`.

    Raises:
      ValueError: for an unknown reward, or a number that is not positive.

    References:
      Finn et al. 2017, arXiv:1703.03400, section 5.3.

    >>> env = point_navigation(reward="distance")
    >>> goal = jnp.array([0.3, 0.4])
    >>> _, state = env.reset(jax.random.key(0), goal)
    >>> step = env.step(jax.random.key(0), state, jnp.zeros(2), goal)
    >>> round(float(step[2]), 6)
    -0.5
    """
    one_of(("distance", "squared"), reward=reward)
    positive(horizon=horizon, speed=speed, size=size)

    def tasks(key: Key) -> Array:
        return jax.random.uniform(key, (2,), minval=-size, maxval=size)

    def reset(key: Key, goal: Array):
        del key  # every episode starts at the origin
        position = jnp.zeros_like(goal)
        return position, position

    def step(key: Key, position: Array, action: Array, goal: Array):
        del key
        position = position + jnp.clip(action, -speed, speed)
        square = jnp.sum(jnp.square(position - goal))
        value = -square if reward == "squared" else -jnp.sqrt(square)
        done = square < (0.0 if reached is None else reached**2)
        return position, position, value, done

    return Env(reset, step, tasks, horizon)
