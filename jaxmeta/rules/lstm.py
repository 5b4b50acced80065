"""A learned optimiser: one small LSTM that decides every coordinate's step.

Ravi and Larochelle 2017, Optimization as a Model for Few-Shot Learning,
https://openreview.net/forum?id=rJY0-Kcll.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Key, Rule
from jaxmeta.functional.recurrent import Carry, lstm_step
from jaxmeta.shapes import Float


class LSTMRuleState(NamedTuple):
    """What the optimiser remembers, for each of P coordinates.

    Attributes:
      carry: of the LSTM that reads the gradients, `[P, hidden]` twice.
      inputs: the last input gate before its sigmoid, `[P]`.
      forget: the last forget gate before its sigmoid, `[P]`.
    """

    carry: Carry
    inputs: Array
    forget: Array


def preprocess(x: Float[Array, "..."], *, p: float = 10.0) -> Float[Array, "... 2"]:
    """Splits a number into magnitude and sign, so that tiny and huge ones look alike.

        (log|x| / p, sign x)  if |x| >= e^-p,   else (-1, e^p x)

    Args:
      x: any shape `[...]`.
      p: how small still counts.

    Returns:
      `[..., 2]`.

    References:
      Andrychowicz et al. 2016, arXiv:1606.04474, appendix A.

    >>> preprocess(jnp.array([-1.0, 0.0])).tolist()
    [[0.0, -1.0], [-1.0, 0.0]]
    """
    large = jnp.abs(x) >= jnp.exp(-p)
    log = jnp.log(jnp.where(large, jnp.abs(x), 1.0)) / p  # log 0 has no gradient
    first = jnp.where(large, log, -1.0)
    second = jnp.where(large, jnp.sign(x), jnp.exp(p) * x)
    return jnp.stack([first, second], -1)


def coordinate_lstm(
    *,
    hidden: int = 20,
    p: float = 10.0,
    forget_bias: tuple[float, float] = (4.0, 5.0),
    input_bias: tuple[float, float] = (-5.0, -4.0),
    scale: float = 0.01,
    key: Key | None = None,
) -> Rule:
    """The LSTM meta-learner's update rule: a cell whose state is the weights.

        x_t = LSTM([pre(g_t), pre(L_t)])
        i_t = sigmoid(W_I [x_t, theta_{t-1}, i~_{t-1}] + b_I)                (eq. 2)
        f_t = sigmoid(W_F [x_t, theta_{t-1}, f~_{t-1}] + b_F)
        theta_t = f_t theta_{t-1} - i_t g_t                                  (eq. 1)

    The parameters are shared by all coordinates, each of which has a state of its own.
    The recurrent input i~ is the gate before its sigmoid, as in the authors' code. With
    W = 0 and b_F large it is SGD of rate sigmoid(b_I), and the initial values are close
    to that: f near 1, i near 0.01.

    The transform wants the loss: `update(grads, state, params, value=loss)`, which
    `jaxmeta.argmin` passes.

    Args:
      hidden: width of the LSTM that reads gradient and loss.
      p: of the preprocessing.
      forget_bias: b_F is drawn uniformly from this interval.
      input_bias: b_I likewise; (-5, -4) starts at a learning rate of about 0.01.
      scale: all weights are drawn from U(-scale, scale).
      key: decides the draws; a fixed one by default.

    Returns:
      A `Rule` with parameters "lstm/kernel", "lstm/bias", "input/kernel", ...

    Raises:
      ValueError: for `hidden < 1` or, from `update`, a missing `value`.

    >>> rule = coordinate_lstm()
    >>> rule.init({"w": jnp.zeros(3)})["input"]["kernel"].shape
    (22,)
    """
    at_least(1, hidden=hidden)

    def init(params):
        # of their type alone, not of their size: the same rule optimises any network
        leaves = jax.tree.leaves(params)
        dtype = jnp.result_type(*leaves) if leaves else jnp.zeros(()).dtype
        keys = jax.random.split(jax.random.key(0) if key is None else key, 6)

        def weights(key, *shape):
            return jax.random.uniform(key, shape, dtype, minval=-scale, maxval=scale)

        def bias(key, interval):
            low, high = interval
            return jax.random.uniform(key, (), dtype, minval=low, maxval=high)

        return {
            "lstm": {
                "kernel": weights(keys[0], 4 + hidden, 4 * hidden),
                "bias": weights(keys[1], 4 * hidden),
            },
            "input": {
                "kernel": weights(keys[2], hidden + 2),
                "bias": bias(keys[3], input_bias),
            },
            "forget": {
                "kernel": weights(keys[4], hidden + 2),
                "bias": bias(keys[5], forget_bias),
            },
        }

    def make(rule_params) -> optax.GradientTransformationExtraArgs:
        lstm, gates = rule_params["lstm"], (rule_params["input"], rule_params["forget"])

        def init_state(params):
            theta, _ = ravel_pytree(params)
            zeros = jnp.zeros((theta.size, hidden), theta.dtype)
            gate = jnp.zeros_like(theta)
            return LSTMRuleState(Carry(zeros, zeros), gate, gate)

        def update(updates, state, params=None, *, value=None, **extra):
            del extra
            if params is None or value is None:
                raise ValueError(
                    "value: got None, wants update(grads, state, params, value=loss)"
                )
            g, restore = ravel_pytree(updates)
            theta, _ = ravel_pytree(params)
            seen = jnp.concatenate(
                [
                    preprocess(g, p=p),
                    jnp.broadcast_to(preprocess(value, p=p), (g.size, 2)),
                ],
                -1,
            ).astype(theta.dtype)
            carry = lstm_step(lstm["kernel"], lstm["bias"], state.carry, seen)

            def gate(weights, last):
                kernel = weights["kernel"]
                own = kernel[hidden] * theta + kernel[hidden + 1] * last
                return carry.hidden @ kernel[:hidden] + own + weights["bias"]

            i, f = map(gate, gates, (state.inputs, state.forget))
            # theta_t - theta_{t-1}, with f - 1 = -sigmoid(-f~) free of cancellation
            step = -jax.nn.sigmoid(-f) * theta - jax.nn.sigmoid(i) * g
            return restore(step), LSTMRuleState(carry, i, f)

        return optax.GradientTransformationExtraArgs(init_state, update)

    return Rule(init, make)
