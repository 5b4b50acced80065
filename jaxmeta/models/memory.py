"""The controller of a memory-augmented network.

Santoro et al. 2016, Meta-Learning with Memory-Augmented Neural Networks,
https://arxiv.org/abs/1605.06065, section 3.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.core import Array, Model
from jaxmeta.functional.memory import MemoryState, access, empty_memory
from jaxmeta.functional.recurrent import Carry
from jaxmeta.models.adapter import from_nnx
from jaxmeta.models.lstm import LSTMCell


class ControllerState(NamedTuple):
    """All that a memory-augmented network carries from step to step.

    Attributes:
      carry: of the LSTM, `[hidden]` twice.
      memory: the external memory.
      read: what was read last, `[heads * width]`.
      label: the label of the last example, `[ways]`.
    """

    carry: Carry
    memory: MemoryState
    read: Array
    label: Array


class MemoryController(nnx.Module):
    """An LSTM whose heads write to and read from a memory; `lstm`, `keys`, ..., `head`.

    h = LSTM([x_t; y_{t-1}; r_{t-1}])
    k = tanh(W_k h),   a = tanh(W_a h),   sigma = sigmoid(W_s h)
    r_t = access(M, k, a, sigma, beta),   z_t = W_o [h; r_t]

    beta is 1, or 1 + softplus(W_b h) if reading is to be sharp.
    """

    def __init__(self, features, ways, hidden, width, heads, decay, sharp, *, rngs):
        self.heads = heads
        self.decay = decay
        self.lstm = LSTMCell(features + ways + heads * width, hidden, rngs=rngs)
        self.keys = nnx.Linear(hidden, heads * width, rngs=rngs)
        self.added = nnx.Linear(hidden, heads * width, rngs=rngs)
        self.gate = nnx.Linear(hidden, heads, rngs=rngs)
        self.strength = nnx.Linear(hidden, heads, rngs=rngs) if sharp else None
        self.head = nnx.Linear(hidden + heads * width, ways, rngs=rngs)

    def __call__(self, inputs):
        state, x = inputs
        seen = jnp.concatenate([x, state.label, state.read])
        carry = self.lstm(state.carry, seen)
        h = carry.hidden
        keys = jnp.tanh(self.keys(h)).reshape(self.heads, -1)
        added = jnp.tanh(self.added(h)).reshape(self.heads, -1)
        gate = jax.nn.sigmoid(self.gate(h))
        beta = 1.0 if self.strength is None else 1 + jax.nn.softplus(self.strength(h))
        memory, read = access(
            state.memory, keys, added, gate, decay=self.decay, strength=beta
        )
        read = read.reshape(-1)
        logits = self.head(jnp.concatenate([h, read]))
        return ControllerState(carry, memory, read, state.label), logits


def empty_state(
    ways: int, hidden: int, slots: int, width: int, heads: int, dtype
) -> ControllerState:
    """The state before anything was seen."""
    zeros = jnp.zeros(hidden)
    state = ControllerState(
        Carry(zeros, zeros),
        empty_memory(slots, width, heads),
        jnp.zeros(heads * width),
        jnp.zeros(ways),
    )
    return jax.tree.map(lambda x: x.astype(dtype), state)


@functools.lru_cache(maxsize=64)
def memory_controller(
    features: int,
    ways: int,
    *,
    hidden: int = 200,
    width: int = 40,
    heads: int = 4,
    decay: float = 0.95,
    sharp: bool = False,
) -> Model:
    """One step of a memory-augmented network.

    Args:
      features: length of x.
      ways: length of a label, and outputs.
      hidden: width of the LSTM.
      width: length of a memory row.
      heads: reading and writing heads.
      decay: gamma, how fast usage is forgotten.
      sharp: every head says how sharply it reads, as in the memories that came before
        and after the paper's (Graves et al. 2014, arXiv:1410.5401, eq. 5).

    Returns:
      A `Model` of `(ControllerState, x [features])` whose outputs are the next state
      (its label unchanged) and logits `[ways]`.

    >>> model = memory_controller(3, 2, hidden=4, width=5, heads=1)
    >>> inputs = (empty_state(2, 4, 6, 5, 1, jnp.float32), jnp.ones(3))
    >>> model.apply(model.init(jax.random.key(0), inputs), inputs)[0][1].shape
    (2,)
    """
    return from_nnx(
        lambda rngs: MemoryController(
            features, ways, hidden, width, heads, decay, sharp, rngs=rngs
        )
    )
