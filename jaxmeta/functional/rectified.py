"""Prototypes that queries have a part in, and queries that listen to their neighbours.

Liu, Song, Qin 2020, Prototype Rectification for Few-Shot Learning,
https://arxiv.org/abs/1911.10713; Ziko et al. 2020, Laplacian Regularized Few-Shot
Learning, https://arxiv.org/abs/2006.15486.
"""

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.core import Array
from jaxmeta.functional.distances import cosine_similarity, squared_euclidean, unit
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.losses import over_present, present_classes, weighted_mean
from jaxmeta.shapes import Float


def rectified(
    support: Float[Array, "n d"],
    targets: Float[Array, "n c"],
    query: Float[Array, "m d"],
    *,
    weights: Float[Array, " n"] | None = None,
    query_weights: Float[Array, " m"] | None = None,
    scale: float = 10.0,
) -> tuple[Float[Array, "c d"], Float[Array, "m d"]]:
    """Prototypes and queries with their two biases taken out.

        z' = z + mean_S z - mean_Q z  of a query,   z = f / ||f||
        P'_k = sum_{i in S_k + Q_k} w_ik z'_i,   w_ik ~ exp(e cos(z'_i, P_k))

    with P the prototypes and Q_k the shifted queries that are nearest to P_k by their
    cosine; over i the w_ik sum to 1. So a query is in one class alone, as in the paper
    and in other implementations; soft is only how much it counts there. Every query takes
    part, where the paper takes the surest of each class.

    Args:
      support: features `[n, d]`.
      targets: one-hot `[n, c]`.
      query: features `[m, d]`.
      weights: of the support, `[n]`, or `None` for all 1.
      query_weights: of the queries, `[m]`; those of weight 0 change no other.
      scale: e; 10 as in the code of LaplacianShot and of Veilleux et al. 2021.

    Returns:
      P' `[c, d]` and z' `[m, d]`.
    """
    support, query = unit(support), unit(query)
    query = (
        query + weighted_mean(support, weights) - weighted_mean(query, query_weights)
    )
    first = prototypes(support, targets, weights)
    near = over_present(
        cosine_similarity(query, first), present_classes(targets, weights)
    )
    assigned = jax.nn.one_hot(near.argmax(-1), targets.shape[1], dtype=query.dtype)

    def part(z, labels, weights):
        # exp(e (cos - 1)) is the same weight, and 1 at most
        found = labels * jnp.exp(scale * (cosine_similarity(z, first) - 1))
        return found if weights is None else found * weights[:, None]

    own = part(support, targets, weights)
    asked = part(query, assigned, query_weights)
    total = (own.sum(0) + asked.sum(0))[:, None]
    both = own.T @ support + asked.T @ query
    return both / jnp.where(total > 0, total, 1.0), query


def bd_cspn(
    support: Float[Array, "n d"],
    targets: Float[Array, "n c"],
    query: Float[Array, "m d"],
    *,
    weights: Float[Array, " n"] | None = None,
    query_weights: Float[Array, " m"] | None = None,
    scale: float = 10.0,
) -> Float[Array, "m c"]:
    """The cosine to rectified prototypes, of shifted queries: e cos(z', P'_k).

    The code of Veilleux et al. 2021 classifies queries as they were before the shift,
    by their distance; here both sides of a cosine are where the prototypes were made.

    Args:
      support: as of `rectified`; so are all others.
      targets: likewise.
      query: likewise.
      weights: likewise.
      query_weights: likewise.
      scale: e.

    Returns:
      Logits `[m, c]`.

    References:
      Liu et al. 2020, arXiv:1911.10713, section 3.

    >>> x = jnp.array([[1.0, 0.1], [0.1, 1.0]])
    >>> bd_cspn(x, jnp.eye(2), x[::-1]).argmax(-1).tolist()
    [1, 0]
    """
    centres, query = rectified(
        support, targets, query,
        weights=weights, query_weights=query_weights, scale=scale,
    )  # fmt: skip
    logits = scale * cosine_similarity(query, centres)
    return over_present(logits, present_classes(targets, weights))


def laplacian_shot(
    support: Float[Array, "n d"],
    targets: Float[Array, "n c"],
    query: Float[Array, "m d"],
    *,
    weights: Float[Array, " n"] | None = None,
    query_weights: Float[Array, " m"] | None = None,
    strength: float = 0.7,
    neighbours: int = 2,
    steps: int = 20,
    rectify: bool = False,
) -> Float[Array, "m c"]:
    """Queries near to each other are held to the same class.

        min_Y  sum_q y_q . a_q + l/2 sum_qp w_qp ||y_q - y_p||^2
        y_q <- softmax_k(-a_qk + l sum_p w_qp y_pk)                      (algorithm 1)

    with a_qk = ||z_q - m_k||^2, z = f / ||f||, and w_qp = 1 where p is one of the
    nearest other queries of q. It starts from softmax(-a). The authors take the mean of
    the training features from f first: give features that are centred.

    Args:
      support: features `[n, d]`.
      targets: one-hot `[n, c]`.
      query: features `[m, d]`.
      weights: of the support, `[n]`, or `None` for all 1.
      query_weights: `[m]`: of a query it matters only whether it is 0.
      strength: l; the authors choose it by validation, of 0.1 to 1.5.
      neighbours: how many others each query listens to: 2, since the k = 3 of the
        authors' code counts the query itself.
      steps: of the update, 20 at most in their code; 0 leaves the nearest prototype.
      rectify: whether m are `rectified` prototypes. Theirs weigh by a softmax over
        classes and divide by the number of rows, so that they are shorter.

    Returns:
      Logits `[m, c]`: what the last softmax is of.

    References:
      Ziko et al. 2020, arXiv:2006.15486, section 2.

    >>> x = jnp.array([[1.0, 0.1], [0.1, 1.0]])
    >>> laplacian_shot(x, jnp.eye(2), x[::-1]).argmax(-1).tolist()
    [1, 0]
    """
    if rectify:
        centres, _ = rectified(
            support, targets, query, weights=weights, query_weights=query_weights
        )
    else:
        centres = prototypes(unit(support), targets, weights)
    query = unit(query)
    present = present_classes(targets, weights)
    alone = over_present(-squared_euclidean(query, centres), present)
    near = strength * nearest(query, query_weights, neighbours)
    update = lambda i, logits: alone + near @ jax.nn.softmax(logits)  # noqa: E731
    return lax.fori_loop(0, steps, update, alone)


def nearest(rows: Array, weights: Array | None, neighbours: int) -> Array:
    """`[m, m]`: 1 where the second is one of the nearest others that count, else 0."""
    m = len(rows)
    apart = jnp.where(jnp.eye(m, dtype=bool), jnp.inf, squared_euclidean(rows, rows))
    if weights is not None:
        apart = jnp.where(weights > 0, apart, jnp.inf)
    negative, which = lax.top_k(-apart, min(neighbours, m - 1))
    hot = jax.nn.one_hot(which, m, dtype=rows.dtype)
    return jnp.sum(hot * jnp.isfinite(negative)[..., None], 1)
