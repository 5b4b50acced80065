"""Weights of task losses that learn or remember: they are parameters and buffers."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta import tree
from jaxmeta.checks import not_negative, one_of
from jaxmeta.core import Array, Meta, PyTree, Scalar


class Weighting(NamedTuple):
    """Weights of K task losses, with a state of their own; nothing here steps.

    Attributes:
      init: `K -> Meta`.
      weigh: `(meta, losses [K], J) -> (weights [K], objective, buffers)`; the gradient
        of the scalar `objective` in `meta.params` is what moves them. J is the
        Jacobian, leaves `[K, ...]`, of the losses in the shared parameters.
    """

    init: Callable[[int], Meta]
    weigh: Callable[[Meta, Array, PyTree], tuple[Array, Scalar, PyTree]]


def uncertainty(
    *,
    kind: Literal["classification", "regression"] = "classification",
    start: float = 0.0,
    limit: float = 5.0,
) -> Weighting:
    """Weights by a learned noise level of each task.

        sum_k exp(-s_k) L_k + s_k / 2        classification                 (eq. 10)
        sum_k exp(-s_k) L_k / 2 + s_k / 2    regression, s = log sigma^2    (eq. 7)

    Where s is optimal, every weighted loss is 1/2. As a loss goes to 0 the objective has
    no lower bound, so s stops at a limit: it does not move further out, and back inside
    as soon as its loss asks for that.

    Args:
      kind: of all tasks.
      start: s at the start.
      limit: s stays within plus or minus this.

    Returns:
      A `Weighting` with parameters "log_variance" `[K]`.

    Raises:
      ValueError: for an unknown kind, or `limit` below `abs(start)`.

    References:
      Kendall et al. 2018, arXiv:1705.07115.

    >>> method = uncertainty()
    >>> method.weigh(method.init(2), jnp.ones(2), {})[0].tolist()
    [1.0, 1.0]
    """
    one_of(("classification", "regression"), kind=kind)
    if limit < abs(start):
        raise ValueError(f"limit: got {limit}, wants at least |start| = {abs(start)}")
    scale = 1.0 if kind == "classification" else 0.5

    def init(tasks: int) -> Meta:
        return Meta({"log_variance": jnp.full(tasks, start, float)})

    def weigh(meta: Meta, losses: Array, jacobian: PyTree):
        del jacobian
        raw, losses = meta.params["log_variance"], lax.stop_gradient(losses)
        inside = jnp.clip(raw, -limit, limit)
        # a clip's own gradient is 0 from its end on, also where the way leads back
        s = raw + lax.stop_gradient(inside - raw)
        weights = scale * jnp.exp(-s)
        terms = weights * losses + s / 2
        slope = 0.5 - scale * jnp.exp(-inside) * losses
        outwards = jnp.where(raw > 0, slope < 0, slope > 0) & (jnp.abs(raw) >= limit)
        terms = jnp.where(outwards, lax.stop_gradient(terms), terms)
        # and what an outer optimiser's momentum carried too far comes back
        far = jnp.square(raw - inside) / 2
        return weights, jnp.sum(terms + far), meta.buffers

    return Weighting(init, weigh)


def gradnorm(
    *, alpha: float = 1.5, select: Callable[[str], bool] = lambda path: True
) -> Weighting:
    """Weights that let all tasks train at a like pace.

        G_k = ||grad_W w_k L_k||,   r_k = (L_k / L_k(0)) / mean_j (L_j / L_j(0))
        min_w  sum_k |G_k - sg(mean_j G_j r_k^alpha)|                         (eq. 2)

    The weights are w = K softmax(v), so that sum_k w_k = K always; the paper rescales
    after each step. L(0) is the first batch's. The outer optimiser moves v with the rest;
    `optax.partition` gives it a rate of its own (0.025 in the paper).

    Args:
      alpha: how hard slow tasks are pulled; 0 makes all gradients equally long.
      select: W, by path in the trunk; all shared parameters by default, the last shared
        layer in the paper: `within("block4")`.

    Returns:
      A `Weighting` with parameters "logits" `[K]`, buffers "first" `[K]`, 0 until the
      first batch.

    Raises:
      ValueError: for a negative `alpha`; when called, if W is empty.

    References:
      Chen et al. 2018, GradNorm, arXiv:1711.02257.

    >>> method = gradnorm()
    >>> method.weigh(method.init(2), jnp.ones(2), jnp.eye(2))[0].tolist()
    [1.0, 1.0]
    """
    not_negative(alpha=alpha)

    def init(tasks: int) -> Meta:
        return Meta({"logits": jnp.zeros(tasks)}, {"first": jnp.zeros(tasks)})

    def weigh(meta: Meta, losses: Array, jacobian: PyTree):
        chosen = tree.leaves(tree.partition(jacobian, select)[0])
        if not chosen:
            known = tree.leaves(tree.paths(jacobian))
            raise ValueError(f"select: got none of {sorted(known)}")
        losses, chosen = lax.stop_gradient((losses, chosen))
        squares = [jnp.sum(x.reshape(len(losses), -1) ** 2, 1) for x in chosen]
        norms = jnp.sqrt(sum(squares))
        first = meta.buffers["first"]
        first = jnp.where(first > 0, first, losses)
        pace = losses / jnp.where(first > 0, first, 1)
        mean = pace.mean()
        pace = pace / jnp.where(mean > 0, mean, 1)
        weights = len(losses) * jax.nn.softmax(meta.params["logits"])
        lengths = weights * norms
        target = lax.stop_gradient(lengths.mean() * pace**alpha)
        objective = jnp.sum(jnp.abs(lengths - target))
        return weights, objective, {"first": first}

    return Weighting(init, weigh)
