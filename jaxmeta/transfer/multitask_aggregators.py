"""One direction from the gradients of several tasks: `aggregate(J) -> d`.

J is any pytree whose leaves have a leading axis of K tasks: a matrix `[K, p]`, or the
shared parameters' tree of `[K, ...]`; d is the same without that axis. Nothing here steps
or remembers: what learns or remembers is in `multitask_weights`.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import one_of
from jaxmeta.core import Array, Key, PyTree
from jaxmeta.shapes import Float
from jaxmeta.transfer.multitask_simplex import nonzero, quadratic, shortest, steepest

Aggregate = Callable[..., PyTree]


def gram(jacobian: PyTree) -> Float[Array, "K K"]:
    """The inner products of the tasks' gradients.

        M_ij = g_i . g_j

    Args:
      jacobian: J, leaves `[K, ...]`.

    Returns:
      `[K, K]`.

    >>> gram(jnp.array([[1.0, 2.0], [0.0, 1.0]])).tolist()
    [[5.0, 2.0], [2.0, 1.0]]
    """
    rows = [x.reshape(x.shape[0], -1) for x in jax.tree.leaves(jacobian)]
    # not in the accelerator's fast precision: projections subtract nearly equal numbers
    each = [jnp.matmul(x, x.T, precision=lax.Precision.HIGHEST) for x in rows]
    return sum(each[1:], each[0])


def combine_tasks(weights: Float[Array, " K"], jacobian: PyTree) -> PyTree:
    """`sum_k w_k g_k`."""
    return jax.tree.map(
        lambda x: jnp.tensordot(weights.astype(x.dtype), x, 1), jacobian
    )


def from_gram(weights: Callable[[Array, Key | None], Array]) -> Aggregate:
    """An aggregator that sees the gradients through their inner products alone.

        d = sum_k w_k g_k,   w = weights(J J^T, key)

    Args:
      weights: `([K, K], key or None) -> [K]`, all of a new method.

    Returns:
      `aggregate(J, key=None) -> d`.

    >>> smallest = from_gram(lambda m, key: 1.0 * (jnp.diag(m) == jnp.diag(m).min()))
    >>> smallest(jnp.array([[3.0, 0.0], [0.0, 1.0]])).tolist()
    [0.0, 1.0]
    """

    def aggregate(jacobian: PyTree, key: Key | None = None) -> PyTree:
        return combine_tasks(weights(gram(jacobian), key), jacobian)

    return aggregate


def equal_weights() -> Aggregate:
    """The mean of the tasks' gradients.

        d = 1/K sum_k g_k

    Returns:
      `aggregate(J, key=None) -> d`.

    >>> equal_weights()(jnp.array([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [0.5, 1.5]
    """
    return from_gram(lambda m, key: jnp.full(len(m), 1 / len(m), m.dtype))


def fixed_weights(weights: Sequence[float]) -> Aggregate:
    """A weighted sum: well tuned, hard to beat, and the baseline of all that follow.

        d = sum_k w_k g_k

    Args:
      weights: `[K]`.

    Returns:
      `aggregate(J, key=None) -> d`.

    Raises:
      ValueError: when called, if J does not have as many tasks.

    References:
      Kurin et al. 2022, In Defense of the Unitary Scalarization, arXiv:2201.04122.

    >>> fixed_weights([1.0, 0.5])(jnp.array([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [1.0, 1.5]
    """
    given = tuple(weights)

    def of(m, key):
        if len(m) != len(given):
            raise ValueError(f"weights: got {len(given)}, wants one for {len(m)} tasks")
        return jnp.asarray(given, m.dtype)

    return from_gram(of)


def pcgrad(*, reduction: Literal["sum", "mean"] = "sum") -> Aggregate:
    """Projects conflicts out: no task's gradient points against another's.

        for each i, for j != i in random order, if g_i' . g_j < 0:
            g_i' <- g_i' - (g_i' . g_j / ||g_j||^2) g_j                (algorithm 1)
        d = sum_i g_i'

    with the original g_j, over all shared parameters as one vector.

    Args:
      reduction: "sum" as in the paper, or "mean".

    Returns:
      `aggregate(J, key=None) -> d`; without a key j goes 0, 1, ..., K - 1. For two
      tasks there is one order.

    Raises:
      ValueError: for an unknown `reduction`.

    References:
      Yu et al. 2020, Gradient Surgery for Multi-Task Learning, arXiv:2001.06782.

    >>> pcgrad()(jnp.array([[1.0, 0.0], [-1.0, 1.0]])).tolist()
    [0.5, 1.5]
    """
    one_of(("sum", "mean"), reduction=reduction)

    def weights(m, key):
        tasks = len(m)

        def one(i, order):
            def project(row, j):  # row: the coefficients of g_i' in g_1, ..., g_K
                overlap = row @ m[:, j]
                hit = (overlap < 0) & (j != i)
                length = jnp.where(hit, m[j, j], 1)
                return row.at[j].add(-jnp.where(hit, overlap, 0) / length), None

            return lax.scan(project, jnp.eye(tasks, dtype=m.dtype)[i], order)[0]

        every = jnp.arange(tasks)
        orders = jnp.broadcast_to(every, (tasks, tasks))
        if key is not None:
            draw = jax.random.split(key, tasks)
            orders = jax.vmap(lambda k: jax.random.permutation(k, tasks))(draw)
        rows = jax.vmap(one)(every, orders)
        return rows.sum(0) if reduction == "sum" else rows.mean(0)

    return from_gram(weights)


def mgda() -> Aggregate:
    """The shortest vector in the convex hull of the gradients: no task gets worse.

        d = argmin ||v||^2,  v = sum_k w_k g_k,  w >= 0,  sum_k w_k = 1       (eq. 3)

    so that d . g_k >= ||d||^2 for every k. Exact, from one linear system for each set of
    tasks, where the original runs Frank-Wolfe. The gradients are taken as they are: a
    small one counts much.

    Returns:
      `aggregate(J, key=None) -> d`.

    Raises:
      ValueError: when called, for more than 10 tasks.

    References:
      Désidéri 2012, Multiple-gradient descent algorithm; Sener and Koltun 2018,
      arXiv:1810.04650.

    >>> mgda()(jnp.array([[2.0, 0.0], [0.0, 2.0]])).tolist()
    [1.0, 1.0]
    """
    return from_gram(lambda m, key: shortest(m / nonzero(jnp.trace(m))))


def cagrad(c: float = 0.5, *, rescale: bool = True) -> Aggregate:
    """The direction near the mean that does most for the task it does least for.

        max_d min_k g_k . d   s.t.  ||d - g_0|| <= c ||g_0||,   g_0 = 1/K sum_k g_k
        d = g_0 + c ||g_0|| g_w / ||g_w||,
        w = argmin g_w . g_0 + c ||g_0|| ||g_w||  on the simplex       (algorithm 1)

    The minimum is exact, from one quadratic equation for each set of tasks; the original
    calls SciPy. c = 0 is the mean.

    Args:
      c: in [0, 1).
      rescale: divides d by 1 + c^2, as the authors' code does; the paper does not.

    Returns:
      `aggregate(J, key=None) -> d`.

    Raises:
      ValueError: for a `c` out of range; when called, for more than 10 tasks.

    References:
      Liu et al. 2021, Conflict-Averse Gradient Descent, arXiv:2110.14048.

    >>> cagrad(0.0)(jnp.array([[1.0, 0.0], [0.0, 3.0]])).tolist()
    [0.5, 1.5]
    """
    if not 0 <= c < 1:
        raise ValueError(f"c: got {c}, wants a number in [0, 1)")

    def weights(m, key):
        mean = jnp.full(len(m), 1 / len(m), m.dtype)
        if c == 0:
            return mean
        m = m / nonzero(jnp.trace(m))  # the weights do not depend on the scale
        radius = c * jnp.sqrt(quadratic(m, mean))
        w = steepest(m, m @ mean, radius)
        found = mean + radius / nonzero(jnp.sqrt(quadratic(m, w))) * w
        return found / (1 + c**2) if rescale else found

    return from_gram(weights)
