"""Classes of all queries of a task at once, by the information that they share with them.

Boudiaf et al. 2020, Transductive Information Maximization For Few-Shot Learning,
https://arxiv.org/abs/2008.11297; Veilleux et al. 2021, Realistic Evaluation of
Transductive Few-Shot Learning, https://arxiv.org/abs/2204.11181.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.scipy.special import logsumexp

from jaxmeta.core import Array
from jaxmeta.functional.distances import unit
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.losses import cross_entropy, over_present, present_classes
from jaxmeta.shapes import Float


def tim(
    support: Float[Array, "n d"],
    targets: Float[Array, "n c"],
    query: Float[Array, "m d"],
    *,
    weights: Float[Array, " n"] | None = None,
    query_weights: Float[Array, " m"] | None = None,
    alpha: float = 1.0,
    ce: float = 0.1,
    marginal: float = 1.0,
    conditional: float = 0.1,
    temperature: float = 15.0,
    rate: float = 1e-4,
    steps: int = 1000,
) -> Float[Array, "m c"]:
    """Class weights that start at the prototypes and raise the mutual information.

        p_ik ~ exp(-T/2 ||w_k - z_i||^2),   z = f / ||f||,   p_k = mean_{i in Q} p_ik
        min_W  a CE(S) - b H_alpha(p) + c mean_{i in Q} H_alpha(p_i)            (TIM)
        H_alpha(p) = (1 - sum_k p_k^alpha) / (alpha - 1),   H_1 that of Shannon

    by Adam. H(p) pulls towards equal numbers of queries a class; with alpha > 1 it does
    so less, for queries that are not balanced (alpha-TIM). The defaults are those of the
    authors' code.

    Args:
      support: features `[n, d]`.
      targets: one-hot `[n, c]`.
      query: features `[m, d]`.
      weights: of the support, `[n]`, or `None` for all 1.
      query_weights: of the queries, `[m]`; those of weight 0 change no other.
      alpha: > 0, the order of both entropies of the queries.
      ce: a, of the support's cross-entropy.
      marginal: b, of the entropy of the mean prediction.
      conditional: c, of the mean entropy of a prediction.
      temperature: T.
      rate: of Adam.
      steps: of Adam; 0 leaves the prototypes.

    Returns:
      Logits `[m, c]`: T (z . w_k - ||w_k||^2 / 2).

    >>> x = jnp.array([[1.0, 0.1], [0.1, 1.0]])
    >>> tim(x, jnp.eye(2), x[::-1], steps=3).argmax(-1).tolist()
    [1, 0]
    """
    support, query = unit(support), unit(query)
    present = present_classes(targets, weights)
    share = _shares(query, query_weights)

    def logits_of(w, z):
        logits = temperature * (z @ w.T - jnp.sum(jnp.square(w), -1) / 2)
        return over_present(logits, present)

    def objective(w):
        each = jax.nn.log_softmax(logits_of(w, query))
        mean = logsumexp(each, 0, b=share[:, None])
        known = cross_entropy(logits_of(w, support), targets, weights)
        spread = marginal * entropy(mean, alpha)
        return ce * known - spread + conditional * (share @ entropy(each, alpha))

    tx = optax.adam(rate)

    def step(carry, _):
        w, state = carry
        updates, state = tx.update(jax.grad(objective)(w), state)
        return (optax.apply_updates(w, updates), state), None

    start = prototypes(support, targets, weights)
    w = lax.scan(step, (start, tx.init(start)), length=steps)[0][0]
    return logits_of(w, query)


def entropy(log_p: Array, alpha: float) -> Array:
    """Tsallis entropy over the last axis, of log-probabilities; alpha = 1 is Shannon's.

    >>> entropy(jnp.log(jnp.array([0.5, 0.5])), 2.0).item()
    0.5
    """
    if alpha == 1:
        return -jnp.sum(jnp.exp(log_p) * log_p, -1)
    return (1 - jnp.sum(jnp.exp(alpha * log_p), -1)) / (alpha - 1)


def _shares(rows: Array, weights: Array | None) -> Array:
    """`[m]`: weights that sum to 1, equal ones where none counts."""
    if weights is None:
        return jnp.full(len(rows), 1 / len(rows), rows.dtype)
    weights = weights.astype(rows.dtype)
    total = weights.sum()
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), 1 / len(rows))
