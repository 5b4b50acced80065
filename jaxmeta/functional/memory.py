"""An external memory with least-recently-used access: addressing, writing, reading.

Santoro et al. 2016, Meta-Learning with Memory-Augmented Neural Networks,
https://arxiv.org/abs/1605.06065, section 3.2.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.core import Array
from jaxmeta.shapes import Float


class MemoryState(NamedTuple):
    """A memory and who has used which of its rows.

    Attributes:
      rows: M `[slots, width]`.
      read_weights: w_r `[heads, slots]`, each head's row sums to 1.
      usage: w_u `[slots]`, a decaying count of reads and writes.
    """

    rows: Array
    read_weights: Array
    usage: Array


def empty_memory(
    slots: int, width: int, heads: int, *, fill: float = 1e-6
) -> MemoryState:
    """The memory before anything was seen: constant rows, all weight on slot 0.

    Args:
      slots: rows of the memory.
      width: length of a row.
      heads: reading heads, at most `slots`.
      fill: the constant; not 0, so that a row has a direction.

    Returns:
      A `MemoryState`.

    Raises:
      ValueError: if there are more heads than slots, or no heads.

    >>> empty_memory(4, 2, 1).usage.tolist()
    [1.0, 0.0, 0.0, 0.0]
    """
    if not 1 <= heads <= slots:
        raise ValueError(f"heads: got {heads}, wants 1 to {slots}, the number of slots")
    first = jnp.zeros(slots).at[0].set(1.0)
    rows = jnp.full((slots, width), fill)
    return MemoryState(rows, jnp.broadcast_to(first, (heads, slots)), first)


def least_used(
    usage: Float[Array, " slots"], heads: int
) -> Float[Array, "heads slots"]:
    """One-hot rows of the `heads` least-used slots, the least used first.

    Slots used equally are taken in their order: before the first write all but slot 0
    are unused, and the heads write to slots 1, 2, 3, ... The choice is a constant to
    differentiation.

    Args:
      usage: w_u `[slots]`.
      heads: how many.

    Returns:
      `[heads, slots]`, w_lu of eq. (6).

    >>> least_used(jnp.array([3.0, 0.0, 1.0, 0.0]), 3).argmax(-1).tolist()
    [1, 3, 2]
    """
    # top_k gives the lower index first among equals
    _, slots = lax.top_k(-lax.stop_gradient(usage), heads)
    return jax.nn.one_hot(slots, usage.shape[0], dtype=usage.dtype)


def write_weights(
    state: MemoryState, gate: Float[Array, " heads"]
) -> Float[Array, "heads slots"]:
    """Where to write: where was read last, or what is least used.

        w_w = sigma w_r(t-1) + (1 - sigma) w_lu(t-1)                      (eq. 7)

    Args:
      state: the memory after the last step.
      gate: sigma `[heads]` in (0, 1).

    Returns:
      `[heads, slots]`, each head's row sums to 1.
    """
    gate = gate[:, None]
    unused = least_used(state.usage, gate.shape[0])
    return gate * state.read_weights + (1 - gate) * unused


def cosines(
    keys: Float[Array, "heads width"],
    rows: Float[Array, "slots width"],
    *,
    eps: float = 1e-8,
) -> Float[Array, "heads slots"]:
    """Cosine of every key with every row, smoothed for rows that are nearly zero.

        s_ji = k_j . M_i / sqrt(|k_j|^2 |M_i|^2 + eps)                    (eq. 2)

    The smoothing bounds the gradient at a row that has just been erased.

    Args:
      keys: `[heads, width]`.
      rows: `[slots, width]`.
      eps: added under the root.

    Returns:
      `[heads, slots]` in (-1, 1).
    """
    norms = jnp.square(keys).sum(-1)[:, None] * jnp.square(rows).sum(-1)
    return keys @ rows.T / jnp.sqrt(norms + eps)


def access(
    state: MemoryState,
    keys: Float[Array, "heads width"],
    added: Float[Array, "heads width"],
    gate: Float[Array, " heads"],
    *,
    decay: float,
    strength: Float[Array, " heads"] | float = 1.0,
) -> tuple[MemoryState, Float[Array, "heads width"]]:
    """One step of the memory: erase the least-used row, write, then read.

        w_w = sigma w_r(t-1) + (1 - sigma) w_lu(t-1)                      (eq. 7)
        M[least used] <- 0,   M <- M + w_w^T a                            (eq. 8)
        w_r = softmax_i strength cos(k, M_i),   r = w_r M                 (eqs. 2-4)
        w_u = decay w_u(t-1) + sum_heads w_r + sum_heads w_w              (eq. 5)

    Args:
      state: the memory after the last step.
      keys: k `[heads, width]`, what each head looks for.
      added: a `[heads, width]`, what each head writes (the paper writes k).
      gate: sigma `[heads]` in (0, 1).
      decay: gamma in [0, 1).
      strength: beta `[heads]`, how sharply a head reads; the paper's is 1.

    Returns:
      `(state, r)`, with what the heads read, `[heads, width]`.

    >>> state = empty_memory(5, 3, 1)
    >>> k = jnp.array([[1.0, 2.0, 3.0]])
    >>> access(state, k, k, jnp.zeros(1), decay=0.95)[0].rows[1].tolist()
    [1.0, 2.0, 3.0]
    """
    w_w = write_weights(state, gate)
    erased = least_used(state.usage, gate.shape[0])[0]  # as in w_w: one search
    rows = state.rows * (1 - erased)[:, None] + w_w.T @ added
    beta = jnp.asarray(strength, rows.dtype)[..., None]
    w_r = jax.nn.softmax(beta * cosines(keys, rows))
    usage = decay * state.usage + w_r.sum(0) + w_w.sum(0)
    return MemoryState(rows, w_r, usage), w_r @ rows
