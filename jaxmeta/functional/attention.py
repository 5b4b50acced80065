"""Reading from a set of examples by similarity."""

import jax
import jax.numpy as jnp

from jaxmeta.core import Array
from jaxmeta.shapes import Float


def attend(
    scores: Float[Array, "n m"],
    values: Float[Array, "m d"],
    weights: Float[Array, " m"] | None = None,
) -> Float[Array, "n d"]:
    """A weighted mean of values, the weights a softmax of scores.

        r_i = sum_j a_ij v_j,   a_i = softmax_j(s_ij + log w_j)

    Args:
      scores: `[n, m]`.
      values: `[m, d]`.
      weights: w, `[m]` or `[n, m]`, >= 0, or `None` for all 1: a value of weight 2 is
        read as two equal ones, one of weight 0 is not, whatever it and its score hold.

    Returns:
      `[n, d]`; zeros where all weights are 0.

    >>> attend(jnp.zeros((1, 2)), jnp.array([[1.0], [3.0]])).tolist()
    [[2.0]]
    """
    if weights is None:
        return jax.nn.softmax(scores) @ values
    read = jnp.broadcast_to(weights > 0, scores.shape)
    found = jnp.any(read, 0)[:, None]
    # a softmax over nothing is 0/0: let it be uniform, and read nothing of it
    parts = jax.nn.softmax(_weighed(scores, weights, read))
    return jnp.where(read, parts, 0.0) @ jnp.where(found, values, 0.0)


def _weighed(scores: Array, weights: Array, read: Array) -> Array:
    """Scores plus the logarithms of weights; the lowest number where nothing is read."""
    log = jnp.log(jnp.where(weights > 0, weights, 1).astype(scores.dtype))
    return jnp.where(read, scores + log, jnp.finfo(scores.dtype).min)


def vote(
    scores: Float[Array, "n m"],
    targets: Float[Array, "m c"],
    weights: Float[Array, " m"] | None = None,
) -> Float[Array, "n c"]:
    """Labels of the support, weighted by attention: log-probabilities of the classes.

        log p_ic = log sum_j softmax_j(s_ij + log w_j) t_jc
                 = log_softmax_c( logsumexp_j (s_ij + log w_j + log t_jc) )

    The second line is what is computed: a class far away keeps a finite logarithm and
    a gradient, where the logarithm of an underflown sum would have neither.

    Args:
      scores: similarities `[n, m]`.
      targets: one-hot (or soft) labels `[m, c]`.
      weights: w, `[m]`, >= 0, or `None` for all 1. What a row of weight 0 and its scores
        hold does not matter.

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
    if weights is not None:
        read = weights > 0
        present = present & read[:, None]
        scores = _weighed(jnp.where(read, scores, 0), weights, read)
    log_targets = jnp.log(jnp.where(present, targets, 1.0))
    # finite, not -inf: 0 * -inf in the loss of an absent class would be NaN
    lowest = jnp.finfo(scores.dtype).min
    pairs = jnp.where(present, scores[:, :, None] + log_targets, lowest)  # [n, m, c]
    return jax.nn.log_softmax(jax.nn.logsumexp(pairs, axis=1))
