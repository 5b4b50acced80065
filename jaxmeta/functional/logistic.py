"""Multinomial logistic regression, to its minimum, as a function of arrays."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.core import Array


class Linear(NamedTuple):
    """A linear classifier: `inputs @ kernel + bias`.

    Attributes:
      kernel: `[d, c]`.
      bias: `[c]`.
    """

    kernel: Array
    bias: Array

    def __call__(self, inputs: Array) -> Array:
        return inputs @ self.kernel + self.bias


def fit_logistic(
    inputs: Array,
    targets: Array,
    *,
    l2: float | Array,
    steps: int = 500,
    tolerance: float = 1e-5,
) -> Linear:
    """Minimises the (weighted) cross-entropy with a quadratic penalty, by L-BFGS.

        min_{W, b}  -sum_{i,c} t_ic log softmax(x_i W + b)_c / sum_{i,c} t_ic
                    + l2/2 ||W||^2

    The bias is not penalised. scikit-learn's `C` is `1 / (l2 n)`.

    Args:
      inputs: `[n, d]`.
      targets: one-hot rows `[n, c]`; a row times w weighs its example by w, a row of
        zeros is padding.
      l2: the strength of the penalty; > 0 makes the minimum unique (up to a shift of
        the bias).
      steps: iterations at most.
      tolerance: stop where the gradient's norm is below it.

    Returns:
      A `Linear`.

    >>> x = jnp.array([[-1.0], [1.0]])
    >>> fit_logistic(x, jnp.eye(2), l2=0.1)(x).argmax(-1).tolist()
    [0, 1]
    """

    def risk(linear):
        penalty = l2 / 2 * jnp.sum(jnp.square(linear.kernel))
        log_p = jax.nn.log_softmax(linear(inputs))
        return -jnp.sum(targets * log_p) / jnp.sum(targets) + penalty

    dtype = jnp.result_type(inputs, targets, float)
    shape = (inputs.shape[1], targets.shape[1])
    start = Linear(jnp.zeros(shape, dtype), jnp.zeros(shape[1:], dtype))
    tx = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(risk)

    def body(carry):
        linear, state, _, t = carry
        value, grad = value_and_grad(linear, state=state)
        updates, state = tx.update(
            grad, state, linear, value=value, grad=grad, value_fn=risk
        )
        return optax.apply_updates(linear, updates), state, optax.tree.norm(grad), t + 1

    def running(carry):
        return (carry[2] > tolerance) & (carry[3] < steps)

    first = (start, tx.init(start), jnp.asarray(jnp.inf, dtype), 0)
    return lax.stop_gradient(lax.while_loop(running, body, first)[0])
