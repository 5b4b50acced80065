"""Reading from a set of examples by similarity."""

import jax
import jax.numpy as jnp

from jaxmeta.core import Array


def attend(scores: Array, values: Array, *, mask: Array | None = None) -> Array:
    """A weighted mean of values, the weights a softmax of scores.

        r_i = sum_j a_ij v_j,   a_i = softmax_j(s_ij)

    Args:
      scores: `[n, m]`.
      values: `[m, d]`.
      mask: `[m]` or `[n, m]`; what is 0 or False there is not read. By default all is.

    Returns:
      `[n, d]`; zeros where everything is masked.

    >>> attend(jnp.zeros((1, 2)), jnp.array([[1.0], [3.0]])).tolist()
    [[2.0]]
    """
    if mask is None:
        return jax.nn.softmax(scores) @ values
    mask = jnp.broadcast_to(mask > 0, scores.shape)
    # a softmax over nothing is 0/0: let it be uniform, and read nothing of it
    lowest = jnp.finfo(scores.dtype).min
    weights = jax.nn.softmax(jnp.where(mask, scores, lowest))
    return jnp.where(mask, weights, 0.0) @ values


def vote(scores: Array, targets: Array) -> Array:
    """Labels of the support, weighted by attention: log-probabilities of the classes.

        log p_ic = log sum_j softmax_j(s_ij) t_jc
                 = log_softmax_c( logsumexp_j (s_ij + log t_jc) )

    The second line is what is computed: a class far away keeps a finite logarithm and
    a gradient, where the logarithm of an underflown sum would have neither.

    Args:
      scores: similarities `[n, m]`.
      targets: one-hot (or soft) labels `[m, c]`; rows of zeros are padding.

    Returns:
      `[n, c]`; exponentials sum to 1 over the classes. A class without examples has a
      finite log-probability so low that its exponential is 0.

    References:
      Vinyals et al. 2016, Matching Networks for One Shot Learning, arXiv:1606.04080,
      eq. (1).

    >>> p = jnp.exp(vote(jnp.zeros((1, 3)), jnp.eye(2)[jnp.array([0, 1, 1])]))
    >>> [round(float(x), 3) for x in p[0]]
    [0.333, 0.667]
    """
    present = targets > 0
    log_targets = jnp.log(jnp.where(present, targets, 1.0))
    # finite, not -inf: 0 * -inf in the loss of an absent class would be NaN
    lowest = jnp.finfo(scores.dtype).min
    pairs = jnp.where(present, scores[:, :, None] + log_targets, lowest)  # [n, m, c]
    return jax.nn.log_softmax(jax.nn.logsumexp(pairs, axis=1))
