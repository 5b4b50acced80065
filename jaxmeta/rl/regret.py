"""What there is to reach on a Bernoulli bandit: Thompson sampling and Gittins' index.

Thompson 1933; Gittins 1979; the index over a finite horizon: Kaufmann 2018, On Bayesian
index policies for sequential resource allocation, https://arxiv.org/abs/1601.01190.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxmeta.core import Array, Key
from jaxmeta.shapes import Float, Int


def gittins_indices(horizon: int, *, discount: float = 1.0, grid: int = 400):
    """The index of a Bernoulli arm with a uniform prior, by backward induction.

        G_r(a, b) = inf {l : V_r(a, b; l) = 0},   mu = a / (a + b)
        V_r = max(0, mu - l + gamma (mu V_{r-1}(a+1, b) + (1 - mu) V_{r-1}(a, b+1)))

    V is what an arm is worth to someone who pays l a pull and may stop when he likes,
    within r pulls. For one arm against a known one the rule is optimal.

    Args:
      horizon: pulls of an episode.
      discount: gamma; below 1 and with a long horizon, Gittins' own index.
      grid: prices l that are tried; the index is off by at most 1/grid.

    Returns:
      `[horizon, horizon, horizon]` float32: of t pulls made, s successes and f failures
      of this arm (a = s + 1, b = f + 1); zero where s + f > t.

    >>> round(float(gittins_indices(3)[2, 1, 1]), 2)  # the last pull: the mean
    0.5
    """
    prices = (np.arange(grid) + 0.5) / grid
    wins, losses = np.mgrid[:horizon, :horizon]
    mean = ((wins + 1) / (wins + losses + 2))[..., None]
    value = np.zeros((horizon + 1, horizon + 1, grid))
    table = np.zeros((horizon, horizon, horizon), np.float32)
    for t in range(horizon - 1, -1, -1):  # r = horizon - t pulls are left
        later = mean * value[1:, :-1] + (1 - mean) * value[:-1, 1:]
        value[:-1, :-1] = np.maximum(0, mean - prices + discount * later)
        worth = (value[:-1, :-1] > 0).sum(-1) / grid
        table[t] = np.where(wins + losses <= t, worth, 0)
    return table


def thompson(
    key: Key, wins: Float[Array, " k"], losses: Float[Array, " k"], t: Int[Array, ""]
) -> Int[Array, ""]:
    """Draws a probability for every arm from what is known of it; pulls the largest."""
    del t
    return jnp.argmax(jax.random.beta(key, wins + 1.0, losses + 1.0))


def gittins(
    table: Float[Array, "t wins losses"],
) -> Callable[[Key, Array, Array, Array], Array]:
    """Pulls the arm of the largest index of a table from `gittins_indices`."""
    table = jnp.asarray(table)

    def choose(key, wins, losses, t):
        index = table[t, wins.astype("int32"), losses.astype("int32")]
        # equal arms by lot
        return jnp.argmax(index + 1e-6 * jax.random.uniform(key, index.shape))

    return choose


def expected_reward(
    probabilities: Float[Array, " k"], actions: Int[Array, "..."]
) -> Float[Array, "..."]:
    """What some pulls pay on average, `[...]` of actions `[..., t]`: without their luck."""
    return probabilities[actions].sum(-1)


def regret(
    probabilities: Float[Array, " k"], actions: Int[Array, "..."]
) -> Float[Array, "..."]:
    """What the best arm would have paid more, on average.

        t max_i p_i - sum_t p_{a_t}

    >>> round(float(regret(jnp.array([0.2, 0.7]), jnp.array([0, 1, 1]))), 4)
    0.5
    """
    best = actions.shape[-1] * probabilities.max()
    return best - expected_reward(probabilities, actions)


def pull(
    choose: Callable[[Key, Array, Array, Array], Array],
    probabilities: Float[Array, " k"],
    key: Key,
    *,
    pulls: int,
) -> Int[Array, " pulls"]:
    """The arms `[pulls]` that a rule of counted successes and failures pulls.

    Args:
      choose: `(key, wins [k], losses [k], t) -> arm`: `thompson`, `gittins(table)`.
      probabilities: `[k]`, the task.
      key: of the rule and of the rewards.
      pulls: how many.

    Returns:
      Integers `[pulls]`.

    >>> arms = pull(thompson, jnp.array([0.1, 0.9]), jax.random.key(0), pulls=200)
    >>> bool(regret(jnp.array([0.1, 0.9]), arms) < 40)
    True
    """

    def step(counts, t):
        choosing, paying = jax.random.split(jax.random.fold_in(key, t))
        wins, losses = counts
        arm = choose(choosing, wins, losses, t)
        won = jax.random.bernoulli(paying, probabilities[arm]).astype(float)
        return (wins.at[arm].add(won), losses.at[arm].add(1 - won)), arm

    zeros = jnp.zeros(probabilities.shape)
    return lax.scan(step, (zeros, zeros), jnp.arange(pulls))[1]
