"""How good an action was: returns, a linear baseline, generalised advantages."""

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.core import Array, PyTree
from jaxmeta.functional.linear_algebra import solve_positive
from jaxmeta.rl.env import Trajectory, floating
from jaxmeta.shapes import Float, Num


def discounted(values: Num[Array, "... t"], decay: float) -> Float[Array, "... t"]:
    """Sums of what comes, along the last axis.

        y_t = x_t + decay y_{t+1}

    >>> discounted(jnp.array([1.0, 1.0, 1.0]), 0.5).tolist()
    [1.75, 1.5, 1.0]
    """

    def step(total, x):
        total = x + decay * total
        return total, total

    flipped = jnp.moveaxis(floating(values), -1, 0)
    _, sums = lax.scan(step, jnp.zeros_like(flipped[0]), flipped, reverse=True)
    return jnp.moveaxis(sums, 0, -1)


def flat_observations(observations: PyTree, axes: int, dtype) -> Array:
    """All that is seen as one vector: `[..., o]`, the first `axes` as they are.

    >>> flat_observations({"a": jnp.zeros((3, 2)), "b": jnp.ones(3, int)}, 1, float).shape
    (3, 3)
    """
    leaves = jax.tree.leaves(observations)
    flat = [x.reshape(*x.shape[:axes], -1).astype(dtype) for x in leaves]
    return jnp.concatenate(flat, -1)


def generalised_advantages(
    rewards: Float[Array, "... t"],
    values: Float[Array, "... t"],
    mask: Float[Array, "... t"],
    *,
    discount: float,
    trace: float,
) -> Float[Array, "... t"]:
    """Generalised advantage estimation.

        delta_t = r_t + gamma v_{t+1} - v_t,   A_t = sum_k (gamma lambda)^k delta_{t+k}

    The value after the end of an episode, and after its last step, is zero.

    Args:
      rewards: `[..., t]`.
      values: v `[..., t]`, of the states before each action.
      mask: `[..., t]`, zero after the end.
      discount: gamma in [0, 1].
      trace: lambda in [0, 1]; 1 is the return minus v.

    Returns:
      A `[..., t]`.

    References:
      Schulman et al. 2016, arXiv:1506.02438, eq. (16).

    >>> one = jnp.ones(3)
    >>> generalised_advantages(one, one, one, discount=1.0, trace=1.0).tolist()
    [2.0, 1.0, 0.0]
    """
    values, rewards = floating(values * mask), floating(rewards)
    after = jnp.concatenate([values[..., 1:], jnp.zeros_like(values[..., :1])], -1)
    delta = (rewards + discount * after - values) * mask
    return discounted(delta, discount * trace) * mask


def linear_baseline(
    trajectory: Trajectory, returns: Float[Array, "n t"], *, ridge: float = 1e-5
) -> Float[Array, "n t"]:
    """A state value that is linear in the observation, its square and powers of time.

        f = (o, o^2, t/100, (t/100)^2, (t/100)^3, 1),   v = f . w
        w = argmin mean_t (f . w - R_t)^2 + ridge ||w||^2

    It is fitted to the very episodes whose values it returns, as published; that makes
    the policy gradient slightly biased, which no baseline at all is not.

    Args:
      trajectory: n episodes.
      returns: R `[n, t]`, discounted.
      ridge: as above.

    Returns:
      v `[n, t]`.

    References:
      Duan et al. 2016, Benchmarking Deep RL, arXiv:1604.06778, appendix.

    >>> seen, one = jnp.zeros((1, 3, 2)), jnp.ones((1, 3))
    >>> played = Trajectory(seen, seen, one, one, seen[:, 0])
    >>> jnp.round(linear_baseline(played, jnp.array([[3.0, 2.0, 1.0]]))).tolist()
    [[3.0, 2.0, 1.0]]
    """
    n, t = returns.shape
    returns = floating(returns)
    seen = flat_observations(trajectory.observations, 2, returns.dtype)
    seen = jnp.clip(seen, -10, 10)
    time = jnp.broadcast_to(jnp.arange(t, dtype=seen.dtype) / 100, (n, t))[..., None]
    features = jnp.concatenate(
        [seen, seen**2, time, time**2, time**3, jnp.ones_like(time)], -1
    )
    weights = trajectory.mask[..., None]
    rows = (features * weights).reshape(n * t, -1)
    targets = (returns * trajectory.mask).reshape(n * t)
    count = trajectory.mask.sum()
    gram = rows.T @ rows / count + ridge * jnp.eye(rows.shape[1], dtype=rows.dtype)
    w = solve_positive(gram, rows.T @ targets / count)
    return features @ w
