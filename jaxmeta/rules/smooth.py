"""Optax transforms whose derivative is finite everywhere, at a zero gradient too."""

import jax
import jax.numpy as jnp
import optax

from jaxmeta.checks import positive
from jaxmeta.core import Array


def adam(
    learning_rate: float | Array,
    b1: float | Array = 0.9,
    b2: float | Array = 0.999,
    eps: float | Array = 1e-8,
    eps_root: float | Array = 1e-8,
) -> optax.GradientTransformation:
    """Adam that can be differentiated: `optax.adam` with a floor under the root.

        u = -alpha m^ / (sqrt(max(v^, 0) + eps_root) + eps)

    sqrt has an infinite slope at v = 0, which every parameter with a zero gradient
    meets: dead ReLUs, unused rows. `optax.adam` has `eps_root=0`, and the meta-gradient
    is then NaN. The floor also limits how steeply an update turns with a tiny gradient:
    at most alpha / sqrt(eps_root).

    Args:
      learning_rate: alpha.
      b1: decay of the first moment; 0 in Reptile.
      b2: decay of the second moment.
      eps: added after the root.
      eps_root: added under the root; positive.

    Returns:
      An `optax.GradientTransformation`.

    Raises:
      ValueError: if `eps_root` is not positive.

    References:
      Kingma, Ba 2015, arXiv:1412.6980.

    >>> slope = jax.grad(lambda g: adam(0.1).update(g, adam(0.1).init(g))[0])
    >>> round(float(slope(jnp.array(0.0))))
    -1000
    """
    if isinstance(eps_root, int | float) and not eps_root > 0:
        raise ValueError(
            f"eps_root: got {eps_root}, wants a positive number (1e-8 is usual): "
            "sqrt(v) has an infinite derivative at v = 0"
        )
    tx = optax.adam(learning_rate, b1=b1, b2=b2, eps=eps, eps_root=eps_root)

    def update(updates, state, params=None):
        # Only a learned second moment can be negative, and only before the first step.
        first = state[0]._replace(nu=jax.tree.map(jax.nn.relu, state[0].nu))
        return tx.update(updates, (first, *state[1:]), params)

    return optax.GradientTransformation(tx.init, update)


def momentum(
    learning_rate: float | Array, decay: float | Array = 0.9, *, nesterov: bool = False
) -> optax.GradientTransformation:
    """SGD with a velocity; linear in the gradient, so its derivative is a constant.

        m <- decay m + g,   u = -alpha m     (nesterov: u = -alpha (g + decay m))

    Args:
      learning_rate: alpha.
      decay: of the velocity.
      nesterov: looks ahead.

    Returns:
      An `optax.GradientTransformation`.

    >>> tx = momentum(0.5)
    >>> float(tx.update(jnp.array(2.0), tx.init(jnp.array(0.0)))[0])
    -1.0
    """
    return optax.sgd(learning_rate, momentum=decay, nesterov=nesterov)


def clip_by_global_norm(max_norm: float | Array) -> optax.GradientTransformation:
    """Scales a gradient down to `max_norm` if it is longer.

        u = g min(1, max_norm / ||g||)

    As `optax.clip_by_global_norm`, but its derivative at g = 0 is the identity: there
    Optax divides by a norm of 0, and 0/0 spoils the derivative even where the quotient
    is not used.

    Args:
      max_norm: the longest gradient that passes unchanged.

    Returns:
      An `optax.GradientTransformation`.

    Raises:
      ValueError: if `max_norm` is not positive.

    References:
      Pascanu et al. 2013, arXiv:1211.5063, algorithm 1.

    >>> tx = clip_by_global_norm(1.0)
    >>> float(tx.update(jnp.array([4.0]), tx.init(None))[0][0])
    1.0
    """
    positive(max_norm=max_norm)

    def update(updates, state, params=None):
        squared = sum(jnp.sum(jnp.square(g)) for g in jax.tree.leaves(updates))
        long = squared > max_norm**2
        # the root is kept away from 0, not only its result
        norm = jnp.sqrt(jnp.where(long, squared, max_norm**2))
        scale = jnp.where(long, max_norm / norm, 1)
        return jax.tree.map(lambda g: g * scale, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
