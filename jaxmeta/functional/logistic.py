"""Multinomial logistic regression, to its minimum, as a function of arrays."""

from typing import NamedTuple

import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.core import Array
from jaxmeta.losses import cross_entropy, real_only, weighted_mean


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
    weights: Array | None = None,
    *,
    l2: float | Array,
    steps: int = 500,
    tolerance: float = 1e-5,
) -> Linear:
    """Minimises the (weighted) cross-entropy with a quadratic penalty, by L-BFGS.

        min_{W, b}  -sum_i w_i sum_c t_ic log softmax(x_i W + b)_c / sum_i w_i
                    + l2/2 ||W||^2

    The bias is not penalised. scikit-learn's `C` is `1 / (l2 n)`. It is solved in
    features of mean 0, each in units of its own deviation, so that columns of any units
    will do; the penalty, and so the answer, is that of the features as given.

    Args:
      inputs: `[n, d]`.
      targets: one-hot (or soft) rows `[n, c]`.
      weights: w, `[n]`, or `None` for all 1. What a row of weight 0 holds does not
        matter.
      l2: the strength of the penalty; > 0 makes the minimum unique (up to a shift of
        the bias).
      steps: iterations at most.
      tolerance: stop where the gradient's norm, in those units, is below it.

    Returns:
      A `Linear`.

    >>> x = jnp.array([[-1.0], [1.0]])
    >>> fit_logistic(x, jnp.eye(2), l2=0.1)(x).argmax(-1).tolist()
    [0, 1]
    """
    dtype = jnp.result_type(inputs, targets, float)
    inputs, targets = (
        real_only(jnp.asarray(x, dtype), weights) for x in (inputs, targets)
    )
    mean = weighted_mean(inputs, weights)
    # the largest entry first: a square may leave the range of float32
    most = jnp.max(jnp.abs(real_only(inputs - mean, weights)), 0)
    most = jnp.where(most > 0, most, 1.0)
    x = real_only(inputs - mean, weights) / most
    spread = most * jnp.sqrt(weighted_mean(jnp.square(x), weights))
    spread = jnp.where(spread > 0, spread, 1.0)
    x = x * (most / spread)
    # W = V / spread / stiff: neither the loss nor the penalty is steep in V
    ratio = l2 / jnp.square(spread)
    stiff = jnp.sqrt(1 + ratio)[:, None]

    def risk(linear):
        scaled = linear.kernel / stiff
        penalty = jnp.sum(ratio[:, None] * jnp.square(scaled)) / 2
        loss = cross_entropy(x @ scaled + linear.bias, targets, weights)
        return loss + penalty

    shape = (x.shape[1], targets.shape[1])
    start = Linear(jnp.zeros(shape, dtype), jnp.zeros(shape[1:], dtype))
    tx = optax.lbfgs()
    value_and_grad = optax.value_and_grad_from_state(risk)

    def body(carry):
        linear, state, _, t = carry
        value, grad = value_and_grad(linear, state=state)
        updates, state = tx.update(
            grad, state, linear, value=value, grad=grad, value_fn=risk
        )
        # a stiff penalty makes the slope small: it is judged by what it began with
        size = optax.tree.norm(Linear(grad.kernel * stiff, grad.bias))
        return optax.apply_updates(linear, updates), state, size, t + 1

    def running(carry):
        return (carry[2] > tolerance) & (carry[3] < steps)

    first = (start, tx.init(start), jnp.asarray(jnp.inf, dtype), 0)
    found = lax.while_loop(running, body, first)[0]
    kernel = found.kernel / stiff / spread[:, None]
    return lax.stop_gradient(Linear(kernel, found.bias - mean @ kernel))
