"""Recurrent networks over sequences of vectors."""

import jax
import jax.numpy as jnp
from flax import nnx

from jaxmeta.checks import at_least
from jaxmeta.core import Model
from jaxmeta.functional.recurrent import Carry, lstm_scan, lstm_step
from jaxmeta.models.adapter import from_nnx_for


class LSTMCell(nnx.Module):
    """An LSTM's parameters and its step; the forget gate starts open (bias 1)."""

    def __init__(self, features, hidden, *, forget_bias=1.0, init=None, rngs):
        self.forget_bias = forget_bias
        shape = (features + hidden, 4 * hidden)
        init = jax.nn.initializers.glorot_uniform() if init is None else init
        self.kernel = nnx.Param(init(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(4 * hidden))

    def __call__(self, carry: Carry, x: jax.Array) -> Carry:
        kernel, bias = self.kernel[...], self.bias[...]
        return lstm_step(kernel, bias, carry, x, forget_bias=self.forget_bias)

    def scan(self, x: jax.Array, *, reverse: bool = False) -> jax.Array:
        """The outputs `[t, n, d]` over a sequence `[t, n, features]`."""
        kernel, bias = self.kernel[...], self.bias[...]
        return lstm_scan(
            kernel, bias, x, reverse=reverse, forget_bias=self.forget_bias
        )[1]


class LSTM(nnx.Module):
    """An LSTM over time, the last output (of each direction) and a linear `head`."""

    def __init__(self, features, outputs, hidden, bidirectional, *, rngs):
        self.forward = LSTMCell(features, hidden, rngs=rngs)
        self.backward = LSTMCell(features, hidden, rngs=rngs) if bidirectional else None
        width = hidden * (2 if bidirectional else 1)
        self.head = None if outputs is None else nnx.Linear(width, outputs, rngs=rngs)

    def __call__(self, x):
        x = jnp.swapaxes(x, 0, 1)  # [t, n, features]
        y = self.forward.scan(x)[-1]
        if self.backward is not None:
            y = jnp.concatenate([y, self.backward.scan(x, reverse=True)[0]], -1)
        return y if self.head is None else self.head(y)


def lstm(
    outputs: int | None, *, hidden: int = 64, bidirectional: bool = False
) -> Model:
    """A long short-term memory network that reads a sequence and answers at its end.

        h_t, c_t = LSTM(x_t, h_{t-1}, c_{t-1}),   y = W h_T + b

    Args:
      outputs: width of the linear head, or `None` for the last hidden state.
      hidden: width of the state.
      bidirectional: read from both ends, each with its own weights.

    Returns:
      A `Model` for sequences `[n, t, features]`, with parameters "forward/kernel", ...,
      "head/bias"; the length t is free.

    Raises:
      ValueError: for a bad width, or inputs that are no sequences of vectors.

    >>> model = lstm(2, hidden=4)
    >>> meta = model.init(jax.random.key(0), jnp.zeros((1, 5, 3)))
    >>> model.apply(meta, jnp.zeros((7, 6, 3)))[0].shape
    (7, 2)
    """
    at_least(1, hidden=hidden)

    def build(rngs, inputs):
        if len(inputs.shape) != 3:
            raise ValueError(
                f"inputs: got shape {inputs.shape}, wants sequences [n, t, features]"
            )
        return LSTM(inputs.shape[-1], outputs, hidden, bidirectional, rngs=rngs)

    return from_nnx_for(build)
