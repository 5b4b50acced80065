"""The long short-term memory cell, as a function of its parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.core import Array
from jaxmeta.shapes import Float


class Carry(NamedTuple):
    """What an LSTM remembers.

    Attributes:
      hidden: h `[..., d]`, its output.
      cell: c `[..., d]`.
    """

    hidden: Array
    cell: Array


def lstm_step(
    kernel: Float[Array, "rows gates"],
    bias: Float[Array, " gates"],
    carry: Carry,
    inputs: Float[Array, "... features"],
    *,
    forget_bias: float = 0.0,
) -> Carry:
    """One step of an LSTM.

        [i, f, g, o] = [x, h] W + b
        c' = sigmoid(f + b_f) c + sigmoid(i) tanh(g),   h' = sigmoid(o) tanh(c')

    Args:
      kernel: W `[features + d, 4 d]`; the input's rows come first.
      bias: b `[4 d]`.
      carry: h and c, `[..., d]`.
      inputs: x `[..., features]`.
      forget_bias: b_f, a constant.

    Returns:
      The next `Carry`; its `hidden` is the output.

    References:
      Hochreiter and Schmidhuber 1997; Gers et al. 2000 for the forget gate.

    >>> carry = Carry(jnp.zeros(2), jnp.ones(2))
    >>> lstm_step(jnp.zeros((5, 8)), jnp.zeros(8), carry, jnp.ones(3)).cell.tolist()
    [0.5, 0.5]
    """
    d = carry.hidden.shape[-1]
    features = inputs.shape[-1]
    if kernel.shape != (features + d, 4 * d):
        raise ValueError(
            f"kernel: got shape {kernel.shape}, wants {(features + d, 4 * d)}"
        )
    # two products, not one of a concatenation: nothing to copy
    gates = inputs @ kernel[:features] + carry.hidden @ kernel[features:] + bias
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f + forget_bias) * carry.cell
    cell += jax.nn.sigmoid(i) * jnp.tanh(g)
    return Carry(jax.nn.sigmoid(o) * jnp.tanh(cell), cell)


def lstm_scan(
    kernel: Float[Array, "rows gates"],
    bias: Float[Array, " gates"],
    inputs: Float[Array, "t ... features"],
    *,
    carry: Carry | None = None,
    reverse: bool = False,
    forget_bias: float = 0.0,
) -> tuple[Carry, Float[Array, "t ... d"]]:
    """Runs an LSTM over a sequence.

    Args:
      kernel: `[features + d, 4 d]`.
      bias: `[4 d]`.
      inputs: `[t, ..., features]`.
      carry: where it starts; zeros by default.
      reverse: from the last element to the first; outputs keep the inputs' order.
      forget_bias: see `lstm_step`.

    Returns:
      The last `Carry`, and the outputs h `[t, ..., d]`.

    >>> lstm_scan(jnp.ones((5, 8)), jnp.zeros(8), jnp.ones((7, 3)))[1].shape
    (7, 2)
    """
    if carry is None:
        zeros = jnp.zeros((*inputs.shape[1:-1], bias.shape[-1] // 4), inputs.dtype)
        carry = Carry(zeros, zeros)

    def step(carry, x):
        carry = lstm_step(kernel, bias, carry, x, forget_bias=forget_bias)
        return carry, carry.hidden

    return lax.scan(step, carry, inputs, reverse=reverse)
