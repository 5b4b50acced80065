"""Importance weights for covariate shift: how much likelier an input is in the target.

Bickel et al. 2009, Discriminative Learning Under Covariate Shift, JMLR 10:2137-2155.
Kernel mean matching and KLIEP are in `jaxmeta.functional.density_ratio`.
"""

import jax.numpy as jnp
from jax.tree_util import Partial

from jaxmeta.core import Array, Batch, Scalar
from jaxmeta.functional.density_ratio import kliep as kliep
from jaxmeta.functional.density_ratio import kliep_score as kliep_score
from jaxmeta.functional.density_ratio import kmm as kmm
from jaxmeta.functional.logistic import fit_logistic
from jaxmeta.functional.rows import weights_of
from jaxmeta.losses import weighted_mean
from jaxmeta.shapes import Float


def weighted(batch: Batch, weights: Float[Array, " n"]) -> Batch:
    """Puts weights on examples: every loss here is their weighted mean.

        sum_i w_i l_i / sum_i w_i

    They are scaled to a mean of 1. Weights that the batch has already (0 for padding)
    are multiplied, and the mean is then over what they count.

    Args:
      batch: `n` examples.
      weights: `[n]`, not negative.

    Returns:
      The `Batch`, with weights.

    Raises:
      ValueError: for another number of weights than of examples.

    >>> batch = weighted(Batch(jnp.zeros((2, 1)), jnp.eye(2)), jnp.array([1.0, 3.0]))
    >>> batch.weights.tolist()
    [0.5, 1.5]
    """
    if weights.shape != batch.targets.shape[:1]:
        raise ValueError(
            f"weights: got shape {weights.shape}, wants {batch.targets.shape[:1]}"
        )
    had = weights_of(batch)
    # a ratio may be NaN where an example is padding
    found = jnp.where(had > 0, jnp.asarray(weights, had.dtype), 0)
    return batch._replace(weights=had * found / weighted_mean(found, had))


def effective_sample_size(weights: Float[Array, " n"]) -> Scalar:
    """How many equally weighted examples are worth as much.

        ESS = (sum w)^2 / sum w^2

    Args:
      weights: `[n]`.

    Returns:
      A scalar in [1, n].

    >>> float(effective_sample_size(jnp.array([1.0, 1.0, 0.0])))
    2.0
    """
    return jnp.square(jnp.sum(weights)) / jnp.sum(jnp.square(weights))


def tame(
    weights: Float[Array, " n"], *, power: float = 1.0, most: float | None = None
) -> Float[Array, " n"]:
    """Trades bias for variance: flattens weights, scales them to a mean of 1, clips them.

        w <- min(w^power / mean(w^power), most)

    Args:
      weights: `[n]`, not negative.
      power: 1 leaves them, 0 makes them equal (Shimodaira's lambda).
      most: the largest weight that is left; `None` does not clip.

    Returns:
      `[n]`.

    Raises:
      ValueError: a power outside [0, 1], or `most` that is not positive.

    References:
      Shimodaira 2000, J. Statistical Planning and Inference 90:227-244.

    >>> tame(jnp.array([1.0, 9.0]), power=0.5, most=1.2).tolist()
    [0.5, 1.2000000476837158]
    """
    if not 0 <= power <= 1:
        raise ValueError(f"power: got {power}, wants a number in [0, 1]")
    if most is not None and not most > 0:
        raise ValueError(f"most: got {most}, wants a positive number or None")
    w = jnp.asarray(weights) ** power
    w = w / jnp.mean(w)
    return w if most is None else jnp.minimum(w, most)


def classifier_ratio(
    source: Float[Array, "n d"], target: Float[Array, "m d"], *, l2: float = 1e-2
) -> Partial:
    """The density ratio from a classifier that tells the domains apart.

        w(x) = (n_s / n_t) (1 - d(x)) / d(x),   d(x) = P(source | x)

    d is a logistic regression, so w is log-linear; it is only as calibrated as `l2` lets
    it be. Where the domains separate, w explodes: see `tame`.

    Args:
      source: `[n, d]`.
      target: `[m, d]`.
      l2: penalty of the regression (see `functional.logistic.fit_logistic`).

    Returns:
      `x [k, d] -> w [k]`.

    References:
      Bickel et al. 2009.

    >>> x = jnp.array([[0.0], [1.0]])
    >>> classifier_ratio(x, x)(x).round(3).tolist()
    [1.0, 1.0]
    """
    n, m = len(source), len(target)
    targets = jnp.repeat(
        jnp.eye(2)[::-1], jnp.array([n, m]), 0, total_repeat_length=n + m
    )
    judge = fit_logistic(jnp.concatenate([source, target]), targets, l2=l2)
    return Partial(_odds, judge, n / m)


def _odds(judge, scale, x):
    logits = judge(x)
    return scale * jnp.exp(logits[:, 0] - logits[:, 1])
