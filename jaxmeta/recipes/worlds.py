"""Environments of the command line: `--env NAME`, each with options of its own."""

from typing import Literal, NamedTuple

from jaxmeta import rl


class World(NamedTuple):
    """An environment, and what acts in it.

    Attributes:
      name: for titles.
      env: the tasks.
      family: the distribution of an action.
    """

    name: str
    env: rl.Env
    family: rl.Family


def point_navigation(
    *,
    horizon: int = 30,
    reward: Literal["squared", "distance"] = "squared",
    reached: float | None = None,
    std: float = 0.1,
) -> World:
    """A point in the plane walks to a goal that it is not told.

    Args:
      horizon: steps of an episode.
      reward: minus the distance to the goal, or minus its square.
      reached: an episode ends at this distance; None: it goes on.
      std: of an action, to begin with.
    """
    env = rl.point_navigation(horizon=horizon, reward=reward, reached=reached)
    return World("point navigation", env, rl.gaussian(2, std=std))


def tabular(
    *, states: int = 10, actions: int = 5, horizon: int = 10, noise: float = 1.0
) -> World:
    """Random tabular decision processes.

    Args:
      states: how many.
      actions: how many.
      horizon: steps of an episode.
      noise: standard deviation of a reward around its mean.
    """
    env = rl.tabular(states, actions, horizon=horizon, noise=noise)
    return World(f"{states}-state processes", env, rl.categorical(actions))


def bandit(*, arms: int = 5, pulls: int = 10) -> World:
    """Bandits with Bernoulli rewards.

    Args:
      arms: how many.
      pulls: of an episode.
    """
    return World(
        f"{arms}-armed bandits", rl.bandit(arms, pulls=pulls), rl.categorical(arms)
    )


WORLDS = {f.__name__: f for f in (point_navigation, tabular, bandit)}
"""Every environment by name."""
