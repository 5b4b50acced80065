"""The outer step as published: a trust region around the adapted policies.

Schulman et al. 2015, Trust Region Policy Optimization, https://arxiv.org/abs/1502.05477;
around MAML: Finn et al. 2017, https://arxiv.org/abs/1703.03400.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.scipy.sparse.linalg import cg

from jaxmeta.checks import at_least, positive, within
from jaxmeta.core import Array, Aux, Objective, PyTree
from jaxmeta.rl.agent import Experience, MetaAgent, first
from jaxmeta.rl.outer import gather, log_ratio, task_mean


def trpo(
    agent: MetaAgent,
    *,
    max_kl: float = 0.01,
    cg_steps: int = 10,
    damping: float = 1e-5,
    backtracks: int = 15,
    shrink: float = 0.8,
) -> Objective:
    """Trust-region policy optimisation of what is left after adapting.

        min_d  g . d   with   KL(pi_old || pi_{theta + d}) <= delta
        d = -sqrt(2 delta / x.Hx) x,   H x = g,   then x shrink^j until both hold:
        the surrogate is lower, the KL is within delta

    KL is between the *adapted* policies in the states they visited, so H is the Fisher
    matrix pulled back through the inner steps, H = J^T F J, whose products cost one
    forward and one backward pass. Where no step is accepted the parameters stay.

    The gradient handed over is theta - theta_new: the outer optimiser is
    `optax.sgd(1.0)`.

    Args:
      agent: from `maml_pg` or `rl2`; a learned value is not trained.
      max_kl: delta.
      cg_steps: steps of conjugate gradient.
      damping: added to H.
      backtracks: candidates of the line search at most, >= 1.
      shrink: in (0, 1).

    Returns:
      An `Objective` whose batch is a batch of task parameters. It reports "kl" and
      "accepted", the fraction of the full step that was taken.

    Raises:
      ValueError: for a number out of range.

    References:
      Schulman et al. 2015, arXiv:1502.05477, appendix C.

    >>> import jaxmeta as jm
    >>> env = jm.rl.point_navigation(horizon=3)
    >>> pi = jm.rl.policy(jm.models.mlp(2, hidden=(4,)), jm.rl.gaussian(2))
    >>> agent = jm.rl.maml_pg(env, pi, optax.sgd(0.1), episodes=4)
    >>> trainer = jm.make_trainer(trpo(agent), optax.sgd(1.0))
    """
    positive(max_kl=max_kl)
    at_least(1, cg_steps=cg_steps, backtracks=backtracks)
    within("(0, 1)", shrink=shrink)
    family = agent.family

    def surrogate(dist: PyTree, found: Experience) -> Array:
        """One task's loss, given the distributions in its states."""
        gain = jnp.exp(log_ratio(agent, dist, found)) * found.advantages
        return -task_mean(gain, found.played.mask)

    def divergence(dist: PyTree, found: Experience) -> Array:
        return task_mean(family.kl(found.dist, dist), found.played.mask)

    def value_and_grad(meta, tasks, key):
        found, report = gather(agent, meta, tasks, key)

        def dists(params):
            at = meta._replace(params=params)
            return jax.vmap(lambda one: agent.replay(at, one)[0])(found)

        def over_tasks(fn, dist):
            return jax.vmap(fn)(dist, found).mean()

        dist, push = jax.linearize(dists, meta.params)
        pull = jax.linear_transpose(push, meta.params)

        def loss_of(dist):
            return over_tasks(surrogate, dist)

        def kl_of(dist):
            return over_tasks(divergence, dist)

        def fisher(v):
            # the KL has no first derivative here, so its curvature is J^T F J exactly
            _, curved = jax.jvp(jax.grad(kl_of), (dist,), (push(v),))
            return jax.tree.map(lambda h, v: h + damping * v, pull(curved)[0], v)

        loss, slope = jax.value_and_grad(loss_of)(dist)
        grads = pull(slope)[0]
        x, _ = cg(fisher, grads, tol=1e-10, maxiter=cg_steps)
        size = jnp.sqrt(2 * max_kl / (optax.tree.vdot(x, fisher(x)) + 1e-12))

        def candidate(fraction):
            params = jax.tree.map(lambda p, x: p - fraction * size * x, meta.params, x)
            at = dists(params)
            better, kl = loss_of(at) < loss, kl_of(at)
            return params, kl, better & (kl <= max_kl)

        def search(carry):
            j, _, _, _ = carry
            return (j + 1, *candidate(shrink ** j.astype(loss.dtype)))

        def rejected(carry):
            return (carry[0] < backtracks) & ~carry[3]

        start = (jnp.array(0), meta.params, jnp.zeros_like(loss), jnp.array(False))
        j, params, kl, accepted = lax.while_loop(rejected, search, start)
        moved = jax.tree.map(
            lambda old, new: jnp.where(accepted, old - new, 0.0), meta.params, params
        )
        report["kl"] = jnp.where(accepted, kl, 0.0)
        taken = shrink ** (j - 1).astype(loss.dtype)
        report["accepted"] = jnp.where(accepted, taken, 0.0)
        return (loss, Aux(report)), moved

    return Objective(lambda key, tasks: agent.init(key, first(tasks)), value_and_grad)
