"""Through the steps: the inner solve is differentiated as the program that it is."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from jaxmeta.checks import at_least, one_of
from jaxmeta.core import PyTree
from jaxmeta.gradients.base import Argmin, Problem
from jaxmeta.gradients.closure import hoist
from jaxmeta.gradients.loops import KEPT, repeat
from jaxmeta.gradients.mixed import mixed_value_and_grad

Memory = Literal["store", "remat", "sqrt", "mixed"]


class Unrolled(NamedTuple):
    """The value that `unrolled` makes; its arguments are its attributes."""

    memory: Memory = "store"
    last: int | None = None

    def __call__(self, problem: Problem, start: PyTree, hypers: PyTree) -> Argmin:
        steps = problem.steps
        solver = optax.with_extra_args_support(problem.solver(hypers))
        state = solver.init(start) if problem.state is None else problem.state
        if steps == 0:
            return Argmin(start, jnp.zeros((0,)), state)
        constant = 0 if self.last is None else max(steps - self.last, 0)
        carry, outs = (start, state), []
        for first, stop, exact in ((0, constant, False), (constant, steps, True)):
            if first == stop:
                continue
            step = self._step(problem, solver, start, hypers, exact)
            carry, out = repeat(
                step,
                carry,
                first,
                stop,
                remat=self.memory != "store",
                # a constant gradient would be computed again only to be thrown away
                keep_named=self.memory == "mixed" or not exact,
                levels=2 if self.memory == "sqrt" else 1,
            )
            outs.append(out)
        losses, visits = jax.tree.map(lambda *x: jnp.concatenate(x), *outs)
        return Argmin(carry[0], losses, carry[1], visits)

    def _step(self, problem, solver, start, hypers, exact):
        """`((phi, state), k) -> ((phi, state), (loss, visit))`."""
        inner = inner_gradient(problem, start, hypers, self.memory, exact)

        def step(carry, k):
            phi, state = carry
            value, grads = checkpoint_name(inner(phi, problem.batches(k)), KEPT)
            # Rules that look at the loss ask for it by name; others never see it.
            seen_by_rule = value if exact else lax.stop_gradient(value)
            updates, state = solver.update(grads, state, phi, value=seen_by_rule)
            phi = optax.apply_updates(phi, updates)
            seen = None if problem.visit is None else problem.visit(phi, k + 1)
            return (phi, state), (value, seen)

        return step


def inner_gradient(problem, start, hypers, memory, exact):
    """`(phi, batch) -> (value, gradient)`; the gradient is a constant unless `exact`."""

    def plain(phi, batch):
        return jax.value_and_grad(problem.loss)(phi, hypers, batch)

    def constant(phi, batch):
        value, grads = plain(phi, batch)
        return value, lax.stop_gradient(grads)

    if not exact:
        return constant
    if memory != "mixed":
        return plain
    example = jax.eval_shape(problem.batches, jnp.array(0))
    bare, captured = hoist(problem.loss, start, hypers, example)
    explicit = mixed_value_and_grad(lambda phi, rest: bare(rest[0], phi, *rest[1:]))
    return lambda phi, batch: explicit(phi, (captured, hypers, batch))


def unrolled(*, memory: Memory = "store", last: int | None = None) -> Unrolled:
    """Differentiates through the inner steps: exact, for any solver and any loss.

        u_k, s_{k+1} = solver(grad L(phi_k), s_k, phi_k),   phi_{k+1} = phi_k + u_k

    What the backward pass keeps, for K steps of activations A and parameters theta:

        memory    keeps                       computes each step
        "store"   K A                         once
        "remat"   A + K theta                 twice
        "sqrt"    A + 2 sqrt(K) theta         three times
        "mixed"   less than A + 2 K theta     once, and a forward pass over its gradient

    All four give the same gradient. "mixed" keeps the inner gradients, so that an
    update rule is replayed without them, and differentiates each by forward over reverse
    mode (`jaxmeta.gradients.mixed`): it pays on networks whose backward pass is what
    fills the memory. Under "mixed" the result has reverse-mode derivatives of first
    order only, `jax.jvp` and `jax.hessian` fail, and the inner loss may not stop a
    gradient on its way from its parameters. The other three have every derivative.

    Args:
      memory: as above.
      last: T; only the last T inner gradients are differentiated through, those before
        are held constant. `None` and K are all of them, 0 is `first_order`.

    Returns:
      A gradient, for `argmin` and for every learner with an inner loop.

    Raises:
      ValueError: for another `memory`, or a negative `last`.

    References:
      Finn et al. 2017, arXiv:1703.03400, eq. (1); Shaban et al. 2019, Truncated
      Back-propagation for Bilevel Optimization, arXiv:1810.10667; Chen et al. 2016,
      Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174; Kemaev et al.
      2025, arXiv:2505.00793.

    >>> unrolled(memory="remat")
    Unrolled(memory='remat', last=None)
    """
    one_of(("store", "remat", "sqrt", "mixed"), memory=memory)
    if last is not None:
        at_least(0, last=last)
    return Unrolled(memory, last)


first_order = Unrolled(last=0)
"""The inner gradients held constant, so that d phi_K / d phi_0 is the identity for SGD:
FOMAML of Finn et al. 2017. It is `unrolled(last=0)`."""
