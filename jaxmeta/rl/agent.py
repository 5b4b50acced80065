"""What a meta-reinforcement learner is: the four functions, with a task to act in."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Key, Meta, PyTree
from jaxmeta.rl.env import Trajectory
from jaxmeta.rl.policies import Family


class Experience(NamedTuple):
    """What one task was found to be like: data, with no derivative.

    Attributes:
      past: what the adaptation saw, of the learner's own making.
      played: the episodes after adaptation, which the outer loop learns from.
      advantages: of their actions, `[n, t]`.
      returns: targets of a learned value, `[n, t]`.
      dist: the distributions their actions were drawn from, leaves `[n, t, ...]`.
      metrics: name -> scalar.
    """

    past: PyTree
    played: Trajectory
    advantages: Array
    returns: Array
    dist: PyTree
    metrics: dict[str, Array]


class MetaAgent(NamedTuple):
    """A meta-reinforcement learner, as pure functions of ONE task.

    `adapt` and `play` are inference; `collect` and `replay` are training, split where
    the derivative starts: collecting is sampling, and replaying is a differentiable
    function of the parameters for samples that stay as they are. One gradient of a
    replay is the meta-policy-gradient; TRPO and PPO replay several times.

    Attributes:
      init: `(key, task) -> Meta`.
      adapt: `(meta, task, key) -> fast`; acts in the task to learn about it.
      play: `(meta, fast, task, key, episodes) -> Trajectory`, as adapted.
      collect: `(meta, task, key) -> Experience`.
      replay: `(meta, experience) -> (dist, values)`: the distributions that these
        parameters, adapted in the same way to the same past, have in the played states,
        and state values `[n, t]` or `None`.
      family: of the distributions.
    """

    init: Callable[[Key, PyTree], Meta]
    adapt: Callable[[Meta, PyTree, Key], PyTree]
    play: Callable[..., Trajectory]
    collect: Callable[[Meta, PyTree, Key], Experience]
    replay: Callable[[Meta, Experience], tuple[PyTree, Any]]
    family: Family


def standardised(advantages: Array, mask: Array) -> Array:
    """Advantages of mean zero and standard deviation one over the steps that count."""
    count = mask.sum()
    mean = jnp.sum(advantages * mask) / count
    spread = jnp.sqrt(jnp.sum(jnp.square(advantages - mean) * mask) / count)
    return (advantages - mean) / (spread + 1e-8) * mask


def first(batch: PyTree) -> PyTree:
    """The first task of a batch."""
    return jax.tree.map(lambda x: x[0], batch)
