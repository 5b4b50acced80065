"""The derivative of a gradient in mixed mode: forward over reverse.

Kemaev, Calian, Zintgraf, Farquhar, van Hasselt 2025, Scalable Meta-Learning via
Mixed-Mode Differentiation, https://arxiv.org/abs/2505.00793.
"""

from collections.abc import Callable

import jax

from jaxmeta.core import Array, PyTree
from jaxmeta.gradients.closure import cotangent, parted


def mixed_value_and_grad(
    loss: Callable[[PyTree, PyTree], Array],
) -> Callable[[PyTree, PyTree], tuple[Array, PyTree]]:
    """`jax.value_and_grad` whose own derivative is one forward pass over the gradient.

        c^T d(grad_w L)/dw = (H c)^T,   c^T d(grad_w L)/dx = grad_x <grad_w L, c>

    Reverse mode over a gradient keeps what the gradient's backward pass computed. A
    Hessian is symmetric, so the same product is a directional derivative of
    (grad_w, grad_x) along (c, 0), which keeps nothing but the arguments.

    The symmetry needs a true gradient: no `stop_gradient` on a path from w in `loss`.
    What comes out has reverse-mode derivatives of first order only: no `jax.jvp`, no
    `jax.hessian`.

    Args:
      loss: `(params, rest) -> scalar` that closes over no tracer (see
        `jaxmeta.gradients.closure.hoist`); leaves of `rest` may be of any dtype.

    Returns:
      `(params, rest) -> (value, gradient in params)`.

    References:
      Kemaev et al. 2025, arXiv:2505.00793, section 3.

    >>> slope = lambda w: mixed_value_and_grad(lambda w, x: w**3 * x)(w, 2.0)[1]
    >>> float(slope(1.0)), float(jax.grad(slope)(1.0))
    (6.0, 12.0)
    """

    @jax.custom_vjp
    def run(params, rest):
        return jax.value_and_grad(loss)(params, rest)

    def forward(params, rest):
        return run(params, rest), (params, rest)

    def backward(kept, along):
        params, rest = kept
        along_value, along_grad = along
        real, fill = parted(rest)

        def of_real(params, real):
            return loss(params, fill(real))

        grads, tangents = jax.jvp(
            lambda params: jax.grad(of_real, argnums=(0, 1))(params, real),
            (params,),
            (along_grad,),
        )
        # the value's own derivative is the primal of what is at hand
        in_params, in_real = jax.tree.map(
            lambda g, t: along_value * g + t, grads, tangents
        )
        return in_params, cotangent(rest, in_real)

    run.defvjp(forward, backward)
    return run
