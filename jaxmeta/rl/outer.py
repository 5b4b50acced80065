"""Outer steps from plain gradients: of the policy gradient, and of PPO."""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.checks import at_least, positive
from jaxmeta.core import Array, Aux, Key, Meta, Objective, PyTree
from jaxmeta.rl.agent import Experience, MetaAgent, first


def gather(
    agent: MetaAgent, meta: Meta, tasks: PyTree, key: Key
) -> tuple[Experience, dict[str, Array]]:
    """The experience of every task, and the mean of what it reports."""
    keys = jax.random.split(key, jax.tree.leaves(tasks)[0].shape[0])
    found = jax.vmap(agent.collect, (None, 0, 0))(meta, tasks, keys)
    return found, jax.tree.map(jnp.mean, found.metrics)


def task_mean(values: Array, mask: Array) -> Array:
    """Mean over the steps that count of one task."""
    return jnp.sum(values * mask) / mask.sum()


def log_ratio(agent: MetaAgent, dist: PyTree, found: Experience) -> Array:
    """log pi(a) - log pi_old(a) of the actions played, `[n, t]`."""
    now = agent.family.log_prob(dist, found.played.actions)
    return now - agent.family.log_prob(found.dist, found.played.actions)


def policy_gradient(
    agent: MetaAgent, *, value_cost: float = 0.5, entropy_bonus: float = 0.0
) -> Objective:
    """The meta-policy-gradient of a batch of tasks, for any Optax transform.

        g = -grad_theta E_task mean_i sum_t  pi_phi(theta)(a_t | s_t) / pi_old  A_t

    At theta the ratio is one and its gradient that of log pi: with `optax.sgd` or
    `optax.adam` outside this is MAML with a vanilla policy gradient.

    Args:
      agent: from `maml_pg` or `rl2`.
      value_cost: weight of the squared error of a learned value, if there is one.
      entropy_bonus: weight of the policy's entropy, summed over an episode.

    Returns:
      An `Objective` whose batch is a batch of task parameters.

    >>> import jaxmeta as jm
    >>> env = jm.rl.bandit(3, pulls=4)
    >>> pi = jm.rl.policy(jm.models.mlp(3, hidden=(4,)), jm.rl.categorical(3))
    >>> agent = jm.rl.maml_pg(env, pi, optax.sgd(0.1), episodes=4)
    >>> trainer = jm.make_trainer(policy_gradient(agent), optax.adam(1e-2))
    >>> state = trainer.init(jax.random.key(0), jax.vmap(env.tasks)(
    ...     jax.random.split(jax.random.key(1), 2)))
    >>> state, metrics = jm.fit(
    ...     trainer, env.tasks, state, jax.random.key(2), steps=1, batch=2)
    """

    def loss(params: PyTree, meta: Meta, found: Experience) -> Array:
        dist, values = agent.replay(meta._replace(params=params), found)
        mask = found.played.mask
        gain = jnp.exp(log_ratio(agent, dist, found)) * found.advantages
        gain += entropy_bonus * agent.family.entropy(dist)
        total = -jnp.mean(jnp.sum(gain * mask, -1))
        if values is not None:
            error = jnp.square(values - found.returns) * mask
            total += value_cost * jnp.mean(jnp.sum(error, -1))
        return total

    def value_and_grad(meta, tasks, key):
        found, report = gather(agent, meta, tasks, key)
        # each task's gradient inside the task axis, as `train.episodic` does
        each = jax.vmap(jax.value_and_grad(loss), (None, None, 0))
        value, grads = each(meta.params, meta, found)
        value, grads = jax.tree.map(lambda x: x.mean(0), (value, grads))
        return (value, Aux(report)), grads

    return Objective(lambda key, tasks: agent.init(key, first(tasks)), value_and_grad)


def ppo(
    agent: MetaAgent,
    tx: optax.GradientTransformation,
    *,
    epochs: int = 5,
    clip: float = 0.2,
    value_cost: float = 0.5,
    entropy_bonus: float = 0.0,
) -> Objective:
    """Proximal policy optimisation as an objective: several steps on one sample.

        max_theta  E min(r A, clip(r, 1 - eps, 1 + eps) A),   r = pi_phi(theta) / pi_old

    The gradient handed over is theta - theta_new, as Reptile's: the outer optimiser is
    `optax.sgd(1.0)`. `tx` starts anew for every batch.

    Args:
      agent: from `maml_pg` or `rl2`.
      tx: takes the steps, `optax.adam(1e-3)` say.
      epochs: steps on one batch, each on all of it, >= 1.
      clip: eps.
      value_cost: weight of the squared error of a learned value, if there is one.
      entropy_bonus: weight of the policy's entropy.

    Returns:
      An `Objective` whose batch is a batch of task parameters.

    Raises:
      ValueError: if `epochs < 1` or `clip` is not positive.

    References:
      Schulman et al. 2017, arXiv:1707.06347, eq. (7). For `maml_pg` this is ProMP
      without its penalty on the inner step (Rothfuss et al. 2019, arXiv:1810.06784).
    """
    at_least(1, epochs=epochs)
    positive(clip=clip)
    tx = optax.with_extra_args_support(tx)

    def task_loss(meta: Meta, found: Experience) -> Array:
        dist, values = agent.replay(meta, found)
        mask, ratio = found.played.mask, jnp.exp(log_ratio(agent, dist, found))
        clipped = jnp.clip(ratio, 1 - clip, 1 + clip)
        gain = jnp.minimum(ratio * found.advantages, clipped * found.advantages)
        gain += entropy_bonus * agent.family.entropy(dist)
        if values is not None:
            gain -= value_cost * jnp.square(values - found.returns)
        return -task_mean(gain, mask)

    def value_and_grad(meta, tasks, key):
        found, report = gather(agent, meta, tasks, key)

        def loss(params):
            at = meta._replace(params=params)
            return jax.vmap(task_loss, (None, 0))(at, found).mean()

        def step(carry, _):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params, value=value, grad=grads)
            return (optax.apply_updates(params, updates), state), value

        start = (meta.params, tx.init(meta.params))
        (params, _), values = lax.scan(step, start, None, length=epochs)
        moved = jax.tree.map(jnp.subtract, meta.params, params)
        return (values[-1], Aux(report)), moved

    return Objective(lambda key, tasks: agent.init(key, first(tasks)), value_and_grad)
