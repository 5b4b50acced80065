"""The inner loop: K differentiable optimiser steps on one task; the only one here."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from jaxmeta.checks import at_least
from jaxmeta.core import Array, PyTree
from jaxmeta.functional.closure import hoist
from jaxmeta.functional.loops import KEPT, Loop, repeat
from jaxmeta.functional.mixed import mixed_value_and_grad

Order = Literal["second", "first"]
Memory = Literal["store", "remat", "sqrt", "mixed"]


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
    order: Order | Array = "second",
    memory: Memory = "store",
    truncate: int | None = None,
    loop: Loop = "auto",
    state: PyTree | None = None,
    visit: Callable[[PyTree, Array], Any] | None = None,
) -> Unrolled:
    """Runs `steps` inner updates and stays differentiable through all of them.

        u_k, s_{k+1} = tx(grad L(phi_k; batch), s_k, phi_k),   phi_{k+1} = phi_k + u_k

    What the backward pass keeps, for K steps of activations A and parameters theta:

        memory    keeps                       computes each step
        "store"   K A                         once
        "remat"   A + K theta                 twice
        "sqrt"    A + 2 sqrt(K) theta         three times
        "mixed"   less than A + 2 K theta     once, and a forward pass over its gradient

    All four give the same gradient. "mixed" keeps the inner gradients, so that an
    update rule is replayed without them, and differentiates each by forward over reverse
    mode (`jaxmeta.functional.mixed`): it pays on networks whose backward pass is what
    fills the memory. Under "mixed" the result has reverse-mode derivatives of first
    order only, `jax.jvp` and `jax.hessian` fail, and `loss` may not stop a gradient on
    its way from its parameters. The other three have every derivative.

    Args:
      loss: `(params, batch, step) -> scalar`; `step` counts from 0. It may close over
        anything: frozen parameters, buffers, keys.
      params: phi_0, any pytree of floating-point arrays (`None` leaves are skipped).
      tx: the inner optimiser; one that takes extra arguments is given the step's loss
        as `value`.
      batch: what every step sees.
      steps: K >= 0. Zero steps return `params`, so that MAML becomes joint training.
      order: "second" differentiates through the inner gradient; "first" holds it
        constant, so that the derivative of phi_K in phi_0 is the identity for SGD. A
        traced boolean scalar chooses at run time, True for "second": a run that anneals
        from one to the other is one compiled program, and its first-order steps do not
        pay for second-order ones. The choice must be the same for all vmapped tasks.
      memory: "store", "remat", "sqrt" or "mixed", as above.
      truncate: T; only the last T inner gradients are differentiated through, those
        before are held constant. `None` and K are all of them, 0 is `order="first"`.
      loop: "scan", "unroll", or "auto": a single step is no loop, more are a scan. Then
        the compiled program does not grow with K, and what "remat" gives back is not
        taken again by a compiler that merges equal computations.
      state: the optimiser's state to start from; `tx.init(params)` by default.
      visit: called as `visit(phi_k, k)` after each step, k = 1..K.

    Returns:
      An `Unrolled`.

    Raises:
      ValueError: for a negative `steps` or `truncate`, an unknown `order`, `memory` or
        `loop`.

    References:
      Finn et al. 2017, Model-Agnostic Meta-Learning, arXiv:1703.03400, eq. (1); Chen et
      al. 2016, Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174; Kemaev
      et al. 2025, arXiv:2505.00793; Antoniou et al. 2019, How to train your MAML,
      arXiv:1810.09502, section 4 (annealed order).

    >>> square = lambda w, x, step: 0.5 * jnp.sum((w * x) ** 2)
    >>> out = unroll(square, jnp.array(1.0), optax.sgd(0.5), jnp.array(1.0), steps=2)
    >>> float(out.params)
    0.25
    """
    _check(steps, order, memory, truncate, loop)
    if state is None:
        state = tx.init(params)
    if steps == 0:
        return Unrolled(params, state, jnp.zeros((0,)), None)
    tx = optax.with_extra_args_support(tx)

    def run(carry, start, stop, order):
        inner = _inner_gradient(loss, params, batch, order, memory)

        def step(carry, k):
            phi, s = carry
            value, grads = checkpoint_name(inner(phi, k), KEPT)
            # Rules that look at the loss ask for it by name; others never see it.
            updates, s = tx.update(grads, s, phi, value=value)
            phi = optax.apply_updates(phi, updates)
            # The inner loss is reported, never differentiated again.
            seen = None if visit is None else visit(phi, k + 1)
            return (phi, s), (lax.stop_gradient(value), seen)

        return repeat(
            step,
            carry,
            start,
            stop,
            loop=loop,
            remat=memory != "store",
            # a constant gradient would be computed again only to be thrown away
            keep_named=memory == "mixed" or _is(order, "first"),
            levels=2 if memory == "sqrt" else 1,
        )

    constant = max(steps - (steps if truncate is None else truncate), 0)
    spans = [(0, constant, "first"), (constant, steps, order)]
    carry, outs = (params, state), []
    for start, stop, how in spans:
        if start < stop:
            carry, out = run(carry, start, stop, how)
            outs.append(out)
    losses, visits = jax.tree.map(lambda *x: jnp.concatenate(x), *outs)
    return Unrolled(*carry, losses, visits)


def _inner_gradient(loss, params, batch, order, memory):
    """`(phi, k) -> (value, gradient)`, differentiable as `order` and `memory` say."""

    def first(phi, k):
        phi = lax.stop_gradient(phi)
        return lax.stop_gradient(jax.value_and_grad(loss)(phi, batch, k))

    def second(phi, k):
        return jax.value_and_grad(loss)(phi, batch, k)

    if _is(order, "first"):
        return first
    if memory == "mixed":
        bare, captured = hoist(loss, params, batch, jnp.array(0))
        explicit = mixed_value_and_grad(lambda phi, rest: bare(rest[0], phi, *rest[1:]))

        def second(phi, k):
            return explicit(phi, (captured, batch, k))

    if _is(order, "second"):
        return second
    return lambda phi, k: lax.cond(order, second, first, phi, k)


def _is(order: Order | Array, name: str) -> bool:
    return isinstance(order, str) and order == name


def _check(steps, order, memory, truncate, loop) -> None:
    """The one place where the options of an inner loop are looked at."""
    at_least(0, steps=steps)
    flag = isinstance(order, jax.Array) and jax.typeof(order).str_short() == "bool[]"
    if not flag and not any(_is(order, name) for name in get_args(Order)):
        raise ValueError(
            f'order: got {order!r}, wants "second", "first" or a boolean scalar array'
        )
    if memory not in get_args(Memory):
        raise ValueError(
            f'memory: got {memory!r}, wants "store", "remat", "sqrt" or "mixed"'
        )
    if truncate is not None and truncate < 0:
        raise ValueError(f"truncate: got {truncate}, wants an integer >= 0 or None")
    if loop not in get_args(Loop):
        raise ValueError(f'loop: got {loop!r}, wants "auto", "scan" or "unroll"')
