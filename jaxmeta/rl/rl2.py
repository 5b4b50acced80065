"""RL^2: learning as the activity of a recurrent network, the control with a memory.

Duan et al. 2016, RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning,
https://arxiv.org/abs/1611.02779; Wang et al. 2016, https://arxiv.org/abs/1611.05763.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import Key, Meta, PyTree
from jaxmeta.rl.agent import Experience, MetaAgent, standardised
from jaxmeta.rl.env import Env, Trajectory, going_on, where_alive
from jaxmeta.rl.policies import Family
from jaxmeta.rl.recurrent import Memory, Recurrent
from jaxmeta.rl.returns import discounted, generalised_advantages


def rl2(
    env: Env,
    family: Family,
    *,
    hidden: int = 64,
    episodes: int = 2,
    adapt_episodes: int | None = None,
    discount: float = 0.99,
    trace: float = 0.95,
    normalise: bool = True,
) -> MetaAgent:
    """A recurrent policy whose memory outlives the episodes of a task, not the task.

        h_t = LSTM(h_{t-1}; o_t, a_{t-1}, r_{t-1}, done_{t-1}),   a_t ~ pi(h_t)
        max  E_task  sum over all episodes of the trial of  gamma^t r_t

    No weight moves at test time: adapting is playing on.

    Args:
      env: the tasks.
      family: `categorical(n)` or `gaussian(d)`.
      hidden: width of the LSTM.
      episodes: of a training trial.
      adapt_episodes: played before `fast` is handed out; one less than a trial's by
        default.
      discount: gamma, across the episodes of a trial.
      trace: lambda of the advantages, whose value is learned.
      normalise: shifts and scales the advantages of each trial; leave it out where a
        trial is short and its luck is the largest part of it.

    Returns:
      A `MetaAgent` whose `fast` is the memory.

    Raises:
      ValueError: if `hidden` or `episodes` is below 1, `adapt_episodes` below 0.

    References:
      Duan et al. 2016, arXiv:1611.02779.

    >>> import jaxmeta as jm
    >>> env = jm.rl.bandit(3, pulls=4)
    >>> agent = rl2(env, jm.rl.categorical(3), hidden=4)
    >>> task = env.tasks(jax.random.key(0))
    >>> meta = agent.init(jax.random.key(1), task)
    >>> memory = agent.adapt(meta, task, jax.random.key(2))
    >>> agent.play(meta, memory, task, jax.random.key(3), 5).actions.shape
    (5, 4)
    """
    at_least(1, hidden=hidden, episodes=episodes)
    before = episodes - 1 if adapt_episodes is None else adapt_episodes
    at_least(0, adapt_episodes=before)
    net = Recurrent(family, hidden)

    def episode(params: PyTree, memory: Memory, task, key: Key):
        """One episode from a memory on: the memory after it, and what happened."""
        start, key = jax.random.split(key)
        seen, state = env.reset(start, task)

        def step(carry, t):
            memory, seen, state, alive = carry
            acting, moving = jax.random.split(jax.random.fold_in(key, t))
            dist, new = net.step(params, memory, seen)
            action = family.sample(dist, acting)
            after, state, reward, done = env.step(moving, state, action, task)
            # an episode that is over is sat out: the memory goes on, unpaid
            reward = alive * jnp.asarray(reward).astype(alive.dtype)
            after = where_alive(alive, after, seen)
            last = (t == env.horizon - 1).astype(reward.dtype)
            memory = Memory(new, net.encode(action, reward), reward, last)
            out = (seen, action, reward, alive)
            return (memory, after, state, going_on(alive, done)), out

        alive = jnp.ones_like(memory.reward)
        carry, out = lax.scan(step, (memory, seen, state, alive),
                              jnp.arange(env.horizon))  # fmt: skip
        return carry[0], Trajectory(*out, carry[1])

    def several(params, memory, task, key, count):
        """Episodes one after another, with one memory."""

        def one(memory, t):
            return episode(params, memory, task, jax.random.fold_in(key, t))

        return lax.scan(one, memory, jnp.arange(count))

    def init(key, task):
        resetting, key = jax.random.split(key)
        return Meta(net.init(key, env.reset(resetting, task)[0]))

    def adapt(meta, task, key):
        memory = net.empty(meta.params)
        if not before:
            return memory
        return several(meta.params, memory, task, key, before)[0]

    def play(meta, fast, task, key, episodes=1):
        def one(key):
            return episode(meta.params, fast, task, key)[1]

        return jax.vmap(one)(jax.random.split(key, episodes))

    def sequence(trial: Trajectory):
        """A trial `[episodes, horizon, ...]` as the LSTM's inputs `[t, features]`."""
        steps = trial.rewards.size
        seen = jax.tree.map(
            lambda x: x.reshape(steps, *x.shape[2:]), trial.observations
        )
        actions = trial.actions.reshape(steps, *trial.actions.shape[2:])
        rewards = trial.rewards.ravel()
        ended = jnp.zeros_like(trial.rewards).at[:, -1].set(1.0).ravel()
        took = net.encode(actions, rewards)

        def late(x):  # what step t is told about step t - 1
            return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])

        return net.inputs(seen, late(took), late(rewards), late(ended))

    def collect(meta, task, key):
        params = lax.stop_gradient(meta.params)
        _, trial = several(params, net.empty(params), task, key, episodes)
        dist, values = jax.tree.map(
            lambda x: x[None], net.scan(params, sequence(trial))
        )
        rewards = trial.rewards.reshape(1, -1)
        # a step that is sat out still has a value, that of the episodes to come
        mask = jnp.ones_like(rewards)
        advantages = generalised_advantages(
            rewards, values, mask, discount=discount, trace=trace
        )
        if normalise:
            advantages = standardised(advantages, mask)
        seen, actions = jax.tree.map(
            lambda x: x.reshape(1, -1, *x.shape[2:]),
            (trial.observations, trial.actions),
        )
        last = jax.tree.map(lambda x: x[-1:], trial.last)
        flat = Trajectory(seen, actions, rewards, mask, last)
        report = {"return": trial.rewards.sum(-1).mean(),
                  "return_first": trial.rewards[0].sum(),
                  "return_last": trial.rewards[-1].sum()}  # fmt: skip
        togo = discounted(rewards, discount)
        return Experience(trial, flat, advantages, togo, dist, report)

    def replay(meta, experience):
        found = net.scan(meta.params, sequence(experience.past))
        return jax.tree.map(lambda x: x[None], found)

    return MetaAgent(init, adapt, play, collect, replay, family)
