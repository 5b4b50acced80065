"""Two sources of one prototype: a few examples, and what was known of the class before.

The mean of a Gaussian whose own mean has a Gaussian prior, as in any textbook; as a rule
for prototypes it is the convex combination of Xing et al. 2019, Adaptive Cross-Modal
Few-shot Learning, https://arxiv.org/abs/1902.07104, with a weight that is counted, not
learned.
"""

import jax.numpy as jnp

from jaxmeta.core import Array, Scalar
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.shapes import Float

MOST = 1000.0  # examples that knowing a class beforehand may be worth


def fused(
    means: Float[Array, "c d"],
    counts: Float[Array, " c"],
    known: Float[Array, "c d"],
    worth: Array | float,
    told: Float[Array, " c"],
) -> Float[Array, "c d"]:
    """Class means of n_k examples, and what was known of the classes, worth some more.

        p_k = (n_k m_k + kappa t_k s_k) / (n_k + kappa t_k)

    It is the posterior mean of a class whose examples have variance sigma^2 about a
    centre that has variance tau^2 about s_k, with kappa = sigma^2 / tau^2.

    Args:
      means: m, `[c, d]`.
      counts: n, `[c]`, the number of examples, or the sum of their weights.
      known: s, `[c, d]`, of the same space, as from a description.
      worth: kappa >= 0: how many examples s_k is as good as.
      told: t, `[c]`: 1 where s_k is known, else 0.

    Returns:
      `[c, d]`; zeros for a class of which nothing is known.

    >>> one = jnp.ones((1, 1))
    >>> fused(one, jnp.array([2.0]), 4 * one, 1.0, jnp.ones(1)).tolist()
    [[2.0]]
    """
    counts, share = counts[:, None], (worth * told)[:, None]
    total = counts + share
    return (counts * means + share * known) / jnp.where(total > 0, total, 1)


def worth_of(
    features: Float[Array, "n d"],
    targets: Float[Array, "n c"],
    known: Float[Array, "c d"],
) -> Scalar:
    """How many examples what is known of a class is worth: measured on some classes.

        m_k the class means, v_k = sum_i t_ik ||f_i - m_k||^2 / (n_k - 1)
        rho = sum_k m_k . s_k / sum_k ||s_k||^2
        sigma^2 = mean_k v_k,   tau^2 = mean_k [||m_k - rho s_k||^2 - v_k / n_k]
        kappa = rho sigma^2 / tau^2

    rho is the length at which s is nearest to the means: with it a direction will do,
    and `fused` gives rho s_k the weight of sigma^2 / tau^2 examples. What tau^2 loses is
    that a mean of few examples is no centre. The classes must not be those that the map
    to s was learned from, which it knows better than others: use validation classes, or
    predictions that leave the class out.

    Args:
      features: `[n, d]`.
      targets: one-hot `[n, c]`, two examples or more of each class.
      known: s, `[c, d]`.

    Returns:
      kappa, between 0 and 1000.

    >>> x = jnp.array([[4.0], [2.0], [-4.0], [-2.0]])  # of variance 2 about 3 and -3
    >>> y = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> kappa = worth_of(x, y, jnp.array([[1.0], [0.0]]))  # 3 * 2 / (9 / 2 - 1)
    >>> round(float(kappa), 2)
    1.71
    """
    n, means = targets.sum(0), prototypes(features, targets)
    rest = jnp.sum(jnp.square(features - targets @ means), -1)
    v = targets.T @ rest / (n - 1)
    length = jnp.sum(jnp.square(known))
    rho = jnp.sum(means * known) / jnp.where(length > 0, length, 1)
    apart = jnp.sum(jnp.square(means - rho * known), -1)
    sigma, tau = jnp.mean(v), jnp.mean(apart - v / n)
    kappa = rho * sigma / jnp.maximum(tau, sigma / MOST)
    return jnp.clip(kappa, 0, MOST)
