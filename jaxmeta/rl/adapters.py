"""Environments of other libraries as two pure functions; none of them is needed here."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxmeta.checks import at_least
from jaxmeta.core import Key, PyTree
from jaxmeta.rl.env import Env, floating


def from_gymnax(
    env: Any,
    *,
    horizon: int | None = None,
    tasks: Callable[[Key], PyTree] | None = None,
) -> Env:
    """A gymnax environment; the task is its parameters.

    gymnax starts a new episode by itself; that is left out here, `rollout` masks instead.

    Args:
      env: an environment object, or a name for `gymnax.make` (`pip install gymnax`).
      horizon: steps of an episode; by default `max_steps_in_episode` of its parameters.
      tasks: `key -> parameters`; by default always the environment's own.

    Returns:
      An `Env`.

    Raises:
      ImportError: for a name, where gymnax is not installed.
      ValueError: if nothing says how long an episode is.
    """
    if isinstance(env, str):
        import gymnax  # type: ignore[import-not-found]  # of the extra rl

        env, _ = gymnax.make(env)
    default = env.default_params
    if horizon is None:
        horizon = getattr(default, "max_steps_in_episode", None)
    if horizon is None:
        raise ValueError("horizon: got None, wants the steps of an episode")

    def step(key: Key, state, action, task):
        # step_env has no reset in it; its five results are those of every version
        seen, state, reward, done, _ = env.step_env(key, state, action, task)
        if hasattr(env, "is_truncated"):
            done |= env.is_truncated(state, task)
        return seen, state, reward, done

    return Env(env.reset_env, step, tasks or (lambda key: default), int(horizon))


def from_func_env(
    env: Any, *, horizon: int, tasks: Callable[[Key], PyTree] | None = None
) -> Env:
    """An environment of Gymnasium's functional interface; the task is its parameters.

    Args:
      env: a `gymnasium.experimental.functional.FuncEnv` written in JAX
        (`pip install gymnasium`), such as `gymnasium.envs.phys2d.CartPoleFunctional()`.
      horizon: steps of an episode; functional environments have no time limit.
      tasks: `key -> parameters`; by default always the environment's own.

    Returns:
      An `Env`.

    Raises:
      ValueError: if `horizon < 1`.
    """
    at_least(1, horizon=horizon)

    def reset(key: Key, task):
        drawing, seeing = jax.random.split(key)
        state = env.initial(drawing, task)
        return env.observation(state, seeing, task), state

    def step(key: Key, state, action, task):
        # one key for all would tie the noise of what is seen to what happens
        moving, paying, ending, seeing = jax.random.split(key, 4)
        after = env.transition(state, action, moving, task)
        reward = floating(env.reward(state, action, after, paying, task))
        done = jnp.asarray(env.terminal(after, ending, task))
        return env.observation(after, seeing, task), after, reward, done

    return Env(reset, step, tasks or (lambda key: env.default_params), horizon)
