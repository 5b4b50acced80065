"""Two views of the same thing, found among those of others.

van den Oord, Li, Vinyals 2018, https://arxiv.org/abs/1807.03748; Radford et al. 2021,
CLIP, https://arxiv.org/abs/2103.00020, figure 3.
"""

import jax
import jax.numpy as jnp

from jaxmeta.checks import refusal
from jaxmeta.core import Array, Scalar
from jaxmeta.functional.distances import unit
from jaxmeta.losses import lowest, real_only, weighted_mean
from jaxmeta.shapes import Bool, Float


def contrastive(
    a: Float[Array, "n d"],
    b: Float[Array, "n d"],
    scale: Array | float,
    weights: Float[Array, " n"] | None = None,
    *,
    same: Bool[Array, "n n"] | None = None,
) -> Scalar:
    """InfoNCE in both directions, as of CLIP: each view has to find its other one.

        s_ij = scale cos(a_i, b_j)
        L = -1/2 sum_i w_i [log softmax_j(s_ij)_i + log softmax_j(s_ji)_i] / sum_i w_i

    Args:
      a: one view, `[n, d]`; rows of zero length have cosine 0 with all.
      b: the other, `[n, d]`: row i belongs to row i.
      scale: 1 / temperature, > 0; CLIP starts at 14.3 and learns its logarithm.
      weights: w, `[n]`, or `None` for all 1. A row of weight 0 is no wrong answer, either.
      same: which pairs of rows say the same, a boolean `[n, n]`, or `None`: none. They
        are no wrong answers: two photographs of a product share one description.

    Returns:
      A scalar, in nats: log n where nothing is known.

    Raises:
      ValueError: views whose shapes differ.

    >>> x = jnp.eye(2)
    >>> round(float(contrastive(x, x, 1.0)), 4), round(float(contrastive(x, 0 * x, 1.0)), 4)
    (0.3133, 0.6931)
    """
    if a.shape != b.shape or a.ndim != 2:
        raise refusal(
            "b", f"shape {list(b.shape)}", f"{list(a.shape)}, a row for each of a"
        )
    a, b = real_only(a, weights), real_only(b, weights)
    scores = scale * (unit(a) @ unit(b).T)
    n = len(a)
    own = jnp.eye(n, dtype=bool)
    there = jnp.ones(n, bool) if weights is None else weights > 0
    other = jnp.ones((n, n), bool) if same is None else ~same

    def found(scores: Array, other: Array) -> Array:
        kept = jnp.where((other & there) | own, scores, lowest(scores.dtype))
        return jnp.diagonal(jax.nn.log_softmax(kept))

    each = found(scores, other) + found(scores.T, other.T)
    return weighted_mean(-each / 2, weights)
