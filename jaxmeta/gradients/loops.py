"""Repeating a step, and what of it is kept for the backward pass."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.core import PyTree

Step = Callable[[PyTree, Any], tuple[PyTree, PyTree]]
KEPT = "inner_grads"  # the name under which a step marks what is worth keeping


def repeat(
    step: Step,
    carry: PyTree,
    start: int,
    stop: int,
    *,
    remat: bool = False,
    keep_named: bool = False,
    levels: int = 1,
) -> tuple[PyTree, PyTree]:
    """Runs `carry, out = step(carry, k)` for k = start..stop-1; one step is no loop.

    Args:
      step: one step.
      carry: where it starts.
      start: the first k.
      stop: one past the last; above `start`.
      remat: computes each step anew in the backward pass.
      keep_named: but not what the step has marked with the name `KEPT`.
      levels: 2 keeps about 2 sqrt(K) carries, those between blocks of sqrt(K) steps and
        those inside one block, and computes each step once more.

    Returns:
      The last carry, and the outputs, stacked.

    >>> repeat(lambda c, k: (c + k, c), jnp.array(0), 0, 3)[0].item()
    3
    """
    count = stop - start
    flat = count == 1

    def checkpoint(fn):
        policy = jax.checkpoint_policies.save_only_these_names(KEPT)
        # a scan keeps the two computations apart; without one XLA would merge them
        return jax.checkpoint(
            fn, policy=policy if keep_named else None, prevent_cse=flat
        )

    def run(body, carry, ks):
        if not flat:
            return lax.scan(body, carry, ks)
        carry, out = body(carry, ks[0])
        return carry, jax.tree.map(lambda x: jnp.stack([x]), out)

    size = math.isqrt(count - 1) + 1  # sqrt(K), rounded up
    blocks = -(-count // size)
    if levels == 1 or blocks == 1:
        return run(checkpoint(step) if remat else step, carry, jnp.arange(start, stop))

    # A remainder of one step would be a loop of one, which XLA dissolves and merges
    # with its recomputation: the last block is filled up with steps that do nothing.
    ks = jnp.arange(start, start + blocks * size)
    filled = step if blocks * size == count else _until(stop, step, carry)
    body = checkpoint(filled) if remat else filled
    block = checkpoint(lambda carry, ks: run(body, carry, ks))
    carry, outs = run(block, carry, ks.reshape(blocks, size))
    return carry, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], outs)


def _until(stop: int, step: Step, carry: PyTree) -> Step:
    """`step` for k < stop, and nothing after."""
    _, out = jax.eval_shape(step, carry, jnp.array(0))

    def nothing(carry, k):
        return carry, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), out)

    return lambda carry, k: lax.cond(k < stop, step, nothing, carry, k)
