"""Stein variational gradient descent as an Optax transform of stacked particles."""

import optax

from jaxmeta.functional.svgd import direction, rows, unrows


def svgd(repulsion: float = 1.0) -> optax.GradientTransformation:
    """Turns the particles' own gradients into their common SVGD direction.

        u_i = 1/M sum_j [ k_ij g_j - repulsion d k(x_j, x_i) / d x_j ]

    Chain it before a rate: `optax.chain(svgd(0.1), optax.sgd(0.5))`. A particle is the
    whole tree: distances are over all leaves together.

    Args:
      repulsion: weight of the kernel's gradient; 0 only shares gradients.

    Returns:
      An `optax.GradientTransformation` for trees with leaves `[m, ...]`; `update` needs
      `params`.

    References:
      Liu, Wang 2016, arXiv:1608.04471.

    >>> import jax.numpy as jnp
    >>> particles = {"w": jnp.array([[0.0], [1.0]])}
    >>> grads = {"w": jnp.zeros((2, 1))}
    >>> u = svgd().update(grads, optax.EmptyState(), particles)[0]["w"]
    >>> bool(u[0, 0] > 0 > u[1, 0])  # subtracted, it drives them apart
    True
    """

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("params: got None, wants the particles")
        u = direction(rows(params), rows(updates), repulsion=repulsion)
        return unrows(u, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
