"""The inner loop: K differentiable optimiser steps on one task. There is no other one."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.core import Array, PyTree

Order = Literal["second", "first"]
Memory = Literal["store", "remat", "mixed"]


class Unrolled(NamedTuple):
    """Where an inner loop ended.

    Attributes:
      params: the adapted parameters, phi_K.
      state: the inner optimiser's state after K steps.
      losses: `[steps]`, the loss before each step.
      visits: what `visit` returned after each step, stacked; `None` without `visit`.
    """

    params: PyTree
    state: PyTree
    losses: Array
    visits: PyTree


def unroll(
    loss: Callable[[PyTree, PyTree, Array], Array],
    params: PyTree,
    tx: optax.GradientTransformation,
    batch: PyTree,
    *,
    steps: int,
    order: Order = "second",
    memory: Memory = "store",
    state: PyTree | None = None,
    visit: Callable[[PyTree, Array], Any] | None = None,
) -> Unrolled:
    """Runs `steps` inner updates and stays differentiable through all of them.

        u_k, s_{k+1} = tx(grad L(phi_k; batch), s_k, phi_k),   phi_{k+1} = phi_k + u_k

    Args:
      loss: `(params, batch, step) -> scalar`; `step` counts from 0.
      params: phi_0, any pytree of floating-point arrays (`None` leaves are skipped).
      tx: the inner optimiser; one that takes extra arguments is given the step's loss
        as `value`.
      batch: what every step sees.
      steps: K >= 0. Zero steps return `params`, so that MAML becomes joint training.
      order: "second" differentiates through the inner gradient; "first" holds it
        constant, so that the derivative of phi_K in phi_0 is the identity for SGD.
      memory: "store" keeps every step's residuals for the backward pass; "remat"
        keeps the parameters between steps and computes each step again.
      state: the optimiser's state to start from; `tx.init(params)` by default.
      visit: called as `visit(phi_k, k)` after each step, k = 1..K.

    Returns:
      An `Unrolled`.

    Raises:
      ValueError: for a negative `steps`, an unknown `order` or `memory`.

    References:
      Finn et al. 2017, Model-Agnostic Meta-Learning, arXiv:1703.03400, eq. (1).

    >>> square = lambda w, x, step: 0.5 * jnp.sum((w * x) ** 2)
    >>> out = unroll(square, jnp.array(1.0), optax.sgd(0.5), jnp.array(1.0), steps=2)
    >>> float(out.params)
    0.25
    """
    if steps < 0:
        raise ValueError(f"steps: got {steps}, wants an integer >= 0")
    if order not in ("second", "first"):
        raise ValueError(f'order: got {order!r}, wants "second" or "first"')
    if memory not in ("store", "remat"):
        raise ValueError(f'memory: got {memory!r}, wants "store" or "remat"')
    tx = optax.with_extra_args_support(tx)
    if state is None:
        state = tx.init(params)
    if steps == 0:
        return Unrolled(params, state, jnp.zeros((0,)), None)

    def step(carry, k):
        phi, s = carry
        value, grads = jax.value_and_grad(loss)(phi, batch, k)
        if order == "first":
            grads = lax.stop_gradient(grads)
            value = lax.stop_gradient(value)
        # Rules that look at the loss ask for it by name; others never see it.
        updates, s = tx.update(grads, s, phi, value=value)
        phi = optax.apply_updates(phi, updates)
        # The inner loss is reported, never differentiated again.
        seen = None if visit is None else visit(phi, k + 1)
        return (phi, s), (lax.stop_gradient(value), seen)

    if memory == "remat":
        step = jax.checkpoint(step, prevent_cse=False)
    carry = (params, state)
    if steps == 1:
        # A scan of one step would still be a loop, and hide that phi_0 is shared by
        # all tasks (performance: the first step is then one dense convolution).
        carry, out = step(carry, jnp.array(0))
        losses, visits = jax.tree.map(lambda x: x[None], out)
    else:
        carry, (losses, visits) = lax.scan(step, carry, jnp.arange(steps))
    return Unrolled(*carry, losses, visits)
