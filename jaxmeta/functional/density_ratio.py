"""Density ratios between two samples, without estimating either density.

Huang et al. 2006, Correcting Sample Selection Bias by Unlabeled Data (NeurIPS);
Sugiyama et al. 2008, Direct Importance Estimation, AISM 60:699-746.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import Partial

from jaxmeta.core import Array, Key, Scalar
from jaxmeta.functional.kernels import median_bandwidth, rbf
from jaxmeta.shapes import Float


def kmm(
    source: Float[Array, "n d"],
    target: Float[Array, "m d"],
    *,
    bandwidth: float | Array | None = None,
    bound: float = 1000.0,
    epsilon: float | None = None,
    iterations: int = 20_000,
    tolerance: float = 1e-6,
) -> Float[Array, " n"]:
    """Kernel mean matching: weights under which the source's mean embedding is the target's.

        min_w  1/2 w^T K w - kappa^T w,   kappa_i = (n_s / n_t) sum_j k(x_i, x_t_j)
        s.t.   0 <= w_i <= bound,   |sum_i w_i - n_s| <= n_s epsilon

    All of the source is solved for at once, by accelerated projected gradient: memory is
    `n_s (n_s + n_t)`.

    Args:
      source: `[n, d]`.
      target: `[m, d]`.
      bandwidth: sigma^2 of the kernel; by default the median heuristic.
      bound: B, the largest weight.
      epsilon: how far the mean weight may be from 1; `(sqrt(n) - 1) / sqrt(n)` if None.
      iterations: gradient steps at most. A smooth kernel makes a flat minimum: weights
        still move long after the discrepancy has settled.
      tolerance: stop where a projected gradient step moves no weight by more.

    Returns:
      w, `[n]`.

    Raises:
      ValueError: a bound below 1 (no weights satisfy the constraints), a negative
        epsilon, or `iterations < 1`.

    References:
      Huang et al. 2006, eqs. 10 to 12.

    >>> x = jnp.array([[0.0], [5.0]])
    >>> kmm(x, x[1:], bandwidth=1.0).round(2).tolist()
    [0.0, 2.0]
    """
    if bound < 1 or iterations < 1 or (epsilon is not None and epsilon < 0):
        raise ValueError(
            f"bound, epsilon, iterations: got {bound}, {epsilon}, {iterations}, wants "
            "bound >= 1, epsilon >= 0, iterations >= 1"
        )
    n, m = len(source), len(target)
    sigma2 = median_bandwidth(source, target) if bandwidth is None else bandwidth
    gram = rbf(source, source, sigma2)
    gram = gram + 1e-5 * jnp.eye(n, dtype=gram.dtype)
    kappa = n / m * jnp.sum(rbf(source, target, sigma2), 1)
    slack = n * ((n**0.5 - 1) / n**0.5 if epsilon is None else epsilon)
    rate = 1 / jnp.max(jnp.sum(gram, 1))  # the largest row sum bounds the spectrum

    def body(carry):
        w, ahead, t, _, i = carry
        moved = ahead - rate * (gram @ ahead - kappa)
        new = _into_box(moved, bound, n - slack, n + slack)
        step = jnp.max(jnp.abs(new - ahead))
        # Beck and Teboulle 2009; momentum that points uphill is dropped
        uphill = jnp.sum((ahead - new) * (new - w)) > 0
        t = jnp.where(uphill, 1.0, t)
        t_new = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        ahead = new + jnp.where(uphill, 0.0, (t - 1) / t_new) * (new - w)
        return new, ahead, t_new, step, i + 1

    def running(carry):
        return (carry[3] > tolerance) & (carry[4] < iterations)

    start, one = jnp.ones(n, gram.dtype), jnp.ones((), gram.dtype)
    return lax.while_loop(running, body, (start, start, one, one, 0))[0]


def _into_box(w: Array, bound: float, low, high) -> Array:
    """The nearest point with 0 <= w <= bound and low <= sum w <= high."""
    clipped = jnp.clip(w, 0, bound)
    total = jnp.sum(clipped)
    wanted = jnp.clip(total, low, high)

    # the projection is clip(w - u) for one number u; its sum falls with u: bisect
    def halve(_, ends):
        middle = (ends[0] + ends[1]) / 2
        above = jnp.sum(jnp.clip(w - middle, 0, bound)) > wanted
        return jnp.where(above, middle, ends[0]), jnp.where(above, ends[1], middle)

    def solve(_):
        ends = (jnp.min(w) - bound, jnp.max(w))  # sums of n bound, and of 0
        low_end, high_end = lax.fori_loop(0, 60, halve, ends)
        return jnp.clip(w - (low_end + high_end) / 2, 0, bound)

    return lax.cond(total == wanted, lambda _: clipped, solve, None)


def kliep(
    source: Float[Array, "n d"],
    target: Float[Array, "m d"],
    key: Key,
    *,
    bandwidth: float | Array | None = None,
    centres: int = 100,
    iterations: int = 2000,
) -> Partial:
    """The ratio whose reweighted source is nearest to the target in Kullback-Leibler.

        max_a  sum_t log w(x_t)   s.t.  mean_s w(x_s) = 1,  a >= 0,
        w(x) = sum_l a_l k(x, c_l)

    The centres are target points, drawn at random. A centre that sees nothing of the
    source has no finite weight and takes no part. Frank-Wolfe, with steps 2/(k + 2).

    Args:
      source: `[n, d]`.
      target: `[m, d]`.
      key: draws the centres.
      bandwidth: sigma^2; by default the median heuristic. `kliep_score` compares them.
      centres: how many at most.
      iterations: steps.

    Returns:
      `x [k, d] -> w [k]`.

    References:
      Sugiyama et al. 2008, eqs. 8 to 10.

    >>> x = jnp.array([[0.0], [1.0]])
    >>> w = kliep(x, x, jax.random.key(0), bandwidth=1.0)
    >>> round(float(w(x).mean()), 4)
    1.0
    """
    sigma2 = median_bandwidth(source, target) if bandwidth is None else bandwidth
    rows = jax.random.permutation(key, len(target))[:centres]
    c = jnp.asarray(target)[rows]
    seen = jnp.mean(rbf(source, c, sigma2), 0)  # b_l
    usable = seen > jnp.finfo(seen.dtype).eps
    # in units of a_l b_l the constraint is the simplex, whose corners are the centres
    price = jnp.where(usable, 1 / jnp.where(usable, seen, 1.0), 0.0)
    k = rbf(target, c, sigma2) * price  # [m, l]

    def body(i, a):
        gradient = jnp.sum(k / jnp.maximum(k @ a, jnp.finfo(k.dtype).tiny)[:, None], 0)
        corner = jax.nn.one_hot(jnp.argmax(gradient), len(a), dtype=a.dtype)
        step = 2.0 / (i + 2.0)
        return (1 - step) * a + step * corner

    start = usable / jnp.maximum(jnp.sum(usable), 1).astype(k.dtype)
    a = lax.fori_loop(1, iterations + 1, body, start.astype(k.dtype))
    return Partial(_mixture, a * price, c, sigma2)


def _mixture(a, c, sigma2, x):
    return rbf(x, c, sigma2) @ a


def kliep_score(
    source: Float[Array, "n d"],
    target: Float[Array, "m d"],
    key: Key,
    bandwidth: float,
    *,
    folds: int = 5,
) -> Scalar:
    """Mean log-weight of held-out target points: what KLIEP's bandwidth is chosen by.

    Args:
      source: `[n, d]`.
      target: `[m, d]`; the last `m % folds` points of a random order are left out.
      key: makes the folds and draws the centres.
      bandwidth: sigma^2.
      folds: >= 2.

    Returns:
      A scalar; larger is better.

    >>> x = jnp.arange(10.0)[:, None]
    >>> bool(jnp.isfinite(kliep_score(x, x, jax.random.key(0), 4.0)))
    True
    """
    size = len(target) // folds
    parts = jnp.asarray(target)[
        jax.random.permutation(key, len(target))[: size * folds]
    ]
    parts = parts.reshape(folds, size, -1)

    def held_out(i):
        turned = jnp.roll(parts, -i, axis=0)
        rest = turned[1:].reshape(-1, turned.shape[-1])
        w = kliep(source, rest, key, bandwidth=bandwidth)(turned[0])
        return jnp.mean(jnp.log(jnp.maximum(w, jnp.finfo(parts.dtype).tiny)))

    return jnp.mean(jax.vmap(held_out)(jnp.arange(folds)))
