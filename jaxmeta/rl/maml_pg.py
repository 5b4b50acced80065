"""MAML for policies: an initialisation from which one policy gradient goes far.

Finn, Abbeel, Levine 2017, https://arxiv.org/abs/1703.03400, algorithm 3; the surrogate
that makes its second derivative right: Foerster et al. 2018,
https://arxiv.org/abs/1802.05098.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Key, Meta, PyTree, Rule
from jaxmeta.gradients import Gradient, Unrolled, argmin, first_order, unrolled
from jaxmeta.learners.common import learned
from jaxmeta.learners.differentiated import check_gradient, differentiates
from jaxmeta.rl.agent import Experience, MetaAgent, standardised
from jaxmeta.rl.env import Env, Trajectory, rollout
from jaxmeta.rl.policies import Policy
from jaxmeta.rl.returns import discounted, generalised_advantages, linear_baseline
from jaxmeta.rl.surrogates import dice
from jaxmeta.rules import check_differentiable

Surrogate = Callable[[Array, Array, Array], Array]


class Sample(NamedTuple):
    """Episodes, and how good each action of them was."""

    played: Trajectory
    advantages: Array


def maml_pg(
    env: Env,
    policy: Policy,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int = 1,
    episodes: int = 20,
    gradient: Gradient = unrolled(),
    surrogate: Surrogate = dice,
    baseline: Callable[[Trajectory, Array], Array] | None = linear_baseline,
    discount: float = 0.99,
    trace: float = 1.0,
    normalise: bool = True,
) -> MetaAgent:
    """Model-agnostic meta-learning of a policy.

        phi_0 = theta,   phi_{k+1} = phi_k + alpha grad_phi S(phi_k; D_k),  D_k ~ phi_k
        max_theta  E_task J(phi_K(theta))

    S is a surrogate of the expected return, the mean over episodes of the sum over
    steps. D_k is sampled and its distribution depends on theta: only a surrogate whose
    second derivative is that of the expected return (`dice`), gives d phi / d theta
    right. With many episodes the gradient of a replay is then the gradient of J; with
    few it has a bias of the order 1/episodes, since phi_K is a non-linear function of
    an average.

    Args:
      env: the tasks.
      policy: from `rl.policy`.
      inner: the inner optimiser of the *negative* surrogate, `optax.sgd(0.01)` say, or
        a learned rule (`rules.meta_sgd`).
      steps: K >= 0 inner steps, each on new episodes.
      episodes: episodes of each D_k, and of the evaluation after the last step.
      gradient: how to differentiate the replayed steps, `unrolled(...)` or `first_order`.
      surrogate: S, of (log_probs, advantages, mask): `dice`, `lvc` or `score`.
      baseline: `(trajectory, returns) -> values`; `None` subtracts nothing.
      discount: gamma of the advantages. Below 1 it trades bias for variance.
      trace: lambda of the advantages; 1 takes whole returns.
      normalise: shifts and scales the advantages of each D_k to mean 0 and variance 1.

    Returns:
      A `MetaAgent` whose `fast` are the adapted parameters of the policy.

    Raises:
      ValueError: if `steps < 0`, `episodes < 1`, `discount` or `trace` not in [0, 1]; at
        `init`, for an inner optimiser whose derivative is not finite
        (`rules.check_differentiable`).

    References:
      Finn et al. 2017, arXiv:1703.03400, algorithm 3.

    >>> import jaxmeta as jm
    >>> env = jm.rl.point_navigation(horizon=5)
    >>> pi = jm.rl.policy(jm.models.mlp(2, hidden=(8,)), jm.rl.gaussian(2))
    >>> agent = maml_pg(env, pi, optax.sgd(0.1), episodes=4)
    >>> task = env.tasks(jax.random.key(0))
    >>> meta = agent.init(jax.random.key(1), task)
    >>> fast = agent.adapt(meta, task, jax.random.key(2))
    >>> agent.play(meta, fast, task, jax.random.key(3), 4).rewards.shape
    (4, 5)
    """
    at_least(0, steps=steps)
    at_least(1, episodes=episodes)
    for name, value in (("discount", discount), ("trace", trace)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name}: got {value}, wants a number in [0, 1]")
    check_gradient(gradient, Unrolled)
    slow, family = learned(inner), policy.family

    def dists(meta: Meta, phi: PyTree, played: Trajectory) -> PyTree:
        n, t = played.rewards.shape
        rows = jax.tree.map(
            lambda x: x.reshape(n * t, *x.shape[2:]), played.observations
        )
        out = policy.apply(Meta(phi, meta.buffers), rows)
        return jax.tree.map(lambda x: x.reshape(n, t, *x.shape[1:]), out)

    def play(meta, fast, task, key, episodes=episodes):
        def act(observations, key):
            dist = policy.apply(Meta(fast, meta.buffers), observations)
            return family.sample(dist, key)

        return rollout(env, act, task, key, episodes=episodes)

    def judged(played: Trajectory) -> tuple[Array, Array]:
        togo = discounted(played.rewards, discount)
        values = baseline(played, togo) if baseline else jnp.zeros_like(togo)
        advantages = generalised_advantages(
            played.rewards, values, played.mask, discount=discount, trace=trace
        )
        return standardised(advantages, played.mask) if normalise else advantages, togo

    def improve(meta, phi, samples: list[Sample], gradient, state=None):
        """Inner steps on episodes that are given, one sample each."""

        def loss(phi, meta, sample):
            dist = dists(meta, phi, sample.played)
            log_probs = family.log_prob(dist, sample.played.actions)
            return -surrogate(log_probs, sample.advantages, sample.played.mask)

        return argmin(
            loss,
            phi,
            meta,
            lambda meta: slow.open(meta.params)[1],
            steps=len(samples),
            gradient=gradient,
            batches=jax.tree.map(lambda *x: jnp.stack(x), *samples),
            state=state,
        )

    def walk(meta: Meta, task, key: Key) -> tuple[PyTree, list[Sample]]:
        """Adapts, sampling on the way: phi_K, and the samples."""
        phi, tx = slow.open(meta.params)
        state, past = tx.init(phi), []
        for k in range(steps):
            played = play(meta, phi, task, jax.random.fold_in(key, k))
            past.append(Sample(played, judged(played)[0]))
            found = improve(meta, phi, past[-1:], first_order, state)
            phi, state = found.params, found.state
        return phi, past

    def init(key, task):
        resetting, key = jax.random.split(key)
        observation, _ = env.reset(resetting, task)
        seen = jax.tree.map(lambda x: x[None], observation)
        meta = slow.init(policy.init(key, seen))
        if steps and differentiates(gradient):
            params, _ = slow.open(meta.params)
            check_differentiable(inner, params, steps=steps)
        return meta

    def adapt(meta, task, key):
        return walk(meta, task, key)[0]

    def collect(meta, task, key):
        meta = lax.stop_gradient(meta)
        phi, past = walk(meta, task, key)
        played = play(meta, phi, task, jax.random.fold_in(key, steps))
        advantages, togo = judged(played)
        report = {"return": played.returns.mean()}
        if past:
            report["return_before"] = past[0].played.returns.mean()
        dist = dists(meta, phi, played)
        return Experience(past, played, advantages, togo, dist, report)

    def replay(meta, experience):
        phi, _ = slow.open(meta.params)
        if experience.past:
            phi = improve(meta, phi, experience.past, gradient).params
        return dists(meta, phi, experience.played), None

    return MetaAgent(init, adapt, play, collect, replay, family)
