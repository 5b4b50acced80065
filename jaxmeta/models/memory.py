"""The controller of a memory-augmented network.

Santoro et al. 2016, Meta-Learning with Memory-Augmented Neural Networks,
https://arxiv.org/abs/1605.06065, section 3.
"""

import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.core import Array, Model
from jaxmeta.functional.memory import MemoryState, access, empty_memory
from jaxmeta.functional.recurrent import Carry
from jaxmeta.models.adapter import from_nnx
from jaxmeta.models.lstm import LSTMCell

Write = Literal["key", "own"]


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
    k = tanh(W_k h),   a = k,   sigma = sigmoid(W_s h),   beta = 1
    r_t = access(M, k, a, sigma, beta),   z_t = W_o [h; r_t]

    With `write="own"` a = tanh(W_a h), with a sharpness beta = 1 + softplus(W_b h).
    """

    def __init__(
        self, features, ways, hidden, width, heads, decay, write, sharpness, *, rngs
    ):
        self.heads = heads
        self.decay = decay
        seen, init = features + ways + heads * width, _each_kind(features, ways)
        self.lstm = LSTMCell(seen, hidden, init=init, rngs=rngs)
        self.keys = nnx.Linear(hidden, heads * width, rngs=rngs)
        own = write == "own"
        self.added = nnx.Linear(hidden, heads * width, rngs=rngs) if own else None
        self.gate = nnx.Linear(hidden, heads, rngs=rngs)
        sharp = sharpness is not None
        self.strength = _above_one(sharpness, hidden, heads, rngs) if sharp else None
        self.head = nnx.Linear(hidden + heads * width, ways, rngs=rngs)

    def __call__(self, inputs):
        state, x = inputs
        seen = jnp.concatenate([x, state.label, state.read])
        carry = self.lstm(state.carry, seen)
        h = carry.hidden
        keys = jnp.tanh(self.keys(h)).reshape(self.heads, -1)
        added = keys
        if self.added is not None:
            added = jnp.tanh(self.added(h)).reshape(self.heads, -1)
        gate = jax.nn.sigmoid(self.gate(h))
        beta = 1.0 if self.strength is None else 1 + jax.nn.softplus(self.strength(h))
        memory, read = access(
            state.memory, keys, added, gate, decay=self.decay, strength=beta
        )
        read = read.reshape(-1)
        logits = self.head(jnp.concatenate([h, read]))
        return ControllerState(carry, memory, read, state.label), logits


def _each_kind(features, ways):
    """Weights under which an example and its label are as loud as each other.

    A label is a single 1 among hundreds of inputs; with one scale for all of them it is
    hardly heard, and to bind it to its example takes tens of thousands of steps.
    """

    def init(key, shape):
        kernel = jax.nn.initializers.glorot_uniform()(key, shape)
        usual = math.sqrt(2 / sum(shape))
        loud = jnp.full(shape[0], usual).at[:features].set(features**-0.5)
        loud = loud.at[features : features + ways].set(1.0)
        return kernel * (loud / usual)[:, None]

    return init


def _above_one(start, features, outputs, rngs):
    """A layer whose 1 + softplus starts around `start`."""
    bias = nnx.initializers.constant(math.log(math.expm1(start - 1)))
    return nnx.Linear(features, outputs, bias_init=bias, rngs=rngs)


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
    write: Write = "key",
    sharpness: float | None = None,
) -> Model:
    """One step of a memory-augmented network.

    Args:
      features: length of x.
      ways: length of a label, and outputs.
      hidden: width of the LSTM.
      width: length of a memory row.
      heads: reading and writing heads.
      decay: gamma, how fast usage is forgotten.
      write: "key" writes what a head looks for, as the paper does; "own" something else.
      sharpness: > 1, where the heads start to learn how sharply they read, as in the
        memory that the paper's comes from (Graves et al. 2014, arXiv:1410.5401, eq. 5).
        `None`: 1 for ever, as in the paper.

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
            features, ways, hidden, width, heads, decay, write, sharpness, rngs=rngs
        )
    )
