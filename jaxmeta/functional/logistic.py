"""Multinomial logistic regression, to its minimum, as a function of arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.core import Array
from jaxmeta.functional.linear_algebra import after_cholesky, cholesky, qr
from jaxmeta.losses import cross_entropy, real_only, weighted_mean
from jaxmeta.shapes import Float


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
    inputs: Float[Array, "n d"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
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
    value_and_grad: Any = optax.value_and_grad_from_state(risk)

    def body(carry):
        linear, state, _, t = carry
        value, grad = value_and_grad(linear, state=state)
        updates, state = tx.update(
            grad, state, linear, value=value, grad=grad, value_fn=risk
        )
        moved: Any = optax.apply_updates(linear, updates)
        return moved, state, optax.tree.norm(grad), t + 1

    def running(carry):
        return (carry[2] > tolerance) & (carry[3] < steps)

    first = (start, tx.init(start), jnp.asarray(jnp.inf, dtype), 0)
    found: Linear = lax.while_loop(running, body, first)[0]
    kernel = found.kernel / stiff / spread[:, None]
    return lax.stop_gradient(Linear(kernel, found.bias - mean @ kernel))


def bounded_logistic(
    inputs: Float[Array, "n d"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
    *,
    l2: float | Array,
    steps: int = 500,
    tolerance: float = 1e-5,
) -> Linear:
    """The minimum of `fit_logistic` by steps of one matrix that bounds every Hessian.

        V_{k+1} = Y_k - B^-1 grad(Y_k),   B = X^T diag(w) X / 2 + l2 I >= H,   sum w = 1

    with Nesterov's momentum, which starts again where it leads uphill. B is factored
    once and there is no line search, so that it compiles much faster and maps
    over many small problems; `fit_logistic` is for features of wide ranges. W lies in
    the span of the inputs: where those are fewer than they are long, it is looked for
    among their combinations.

    Args:
      inputs: as of `fit_logistic`.
      targets: likewise.
      weights: likewise.
      l2: likewise, > 0.
      steps: at most.
      tolerance: stop where the gradient's norm is below it.

    Returns:
      A `Linear`, with no derivative.

    References:
      Böhning 1992, Multinomial logistic regression algorithm,
      https://doi.org/10.1007/BF00048682; O'Donoghue and Candès 2015, Adaptive Restart
      for Accelerated Gradient Schemes, arXiv:1204.3982.

    >>> x = jnp.array([[-1.0], [1.0]])
    >>> bounded_logistic(x, jnp.eye(2), l2=0.1)(x).argmax(-1).tolist()
    [0, 1]
    """
    dtype = jnp.result_type(inputs, targets, float)
    inputs, targets = (
        lax.stop_gradient(real_only(jnp.asarray(x, dtype), weights))
        for x in (inputs, targets)
    )
    basis = None
    if inputs.shape[0] < inputs.shape[1]:
        basis = qr(inputs.T)[0]
        inputs = inputs @ basis
    n, d = inputs.shape
    w = jnp.ones(n, dtype) if weights is None else lax.stop_gradient(weights)
    total = jnp.sum(w)
    w = (w / jnp.where(total > 0, total, 1.0))[:, None]
    x = jnp.concatenate([inputs, jnp.ones((n, 1), dtype)], 1)
    # the bias is not penalised; without an example nothing else would hold it
    penalty = jnp.full((d + 1, 1), l2, dtype).at[-1].set(jnp.where(total > 0, 0.0, 1.0))
    bound = cholesky(x.T @ (w * x) / 2 + jnp.diag(penalty[:, 0]))

    def slope(v):
        return x.T @ (w * (jax.nn.softmax(x @ v) - targets)) + penalty * v

    def body(carry):
        v, y, k, _, t = carry
        g = slope(y)
        new = y - after_cholesky(bound, g)
        k = jnp.where(jnp.sum(g * (new - v)) > 0, 0.0, k + 1)
        return new, new + k / (k + 3) * (new - v), k, optax.tree.norm(g), t + 1

    def running(carry):
        return (carry[3] > tolerance) & (carry[4] < steps)

    zero = jnp.zeros((d + 1, targets.shape[1]), dtype)
    far = jnp.asarray(jnp.inf, dtype)
    first = (zero, zero, jnp.zeros((), dtype), far, 0)
    found = lax.while_loop(running, body, first)[0]
    kernel = found[:-1] if basis is None else basis @ found[:-1]
    return Linear(kernel, found[-1])
