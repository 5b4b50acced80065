"""How far confidence is from accuracy; reached as `jaxmeta.metrics`."""

import jax.numpy as jnp

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Scalar
from jaxmeta.losses import check_classes, real_only
from jaxmeta.shapes import Float


def calibration_bins(
    probabilities: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    bins: int = 15,
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, "bins 3"]:
    """Sorts predictions by their confidence: what a calibration error is made of.

    Tables of several episodes may be added.

    Args:
      probabilities: `[n, c]`, rows of sum 1.
      targets: one-hot rows `[n, c]`.
      bins: of equal width on [0, 1].
      weights: `[n]`, or `None` for all 1.

    Returns:
      `[bins, 3]`: how many predictions, the sum of their confidences (largest
      probabilities), and how many are right. A prediction that is NaN makes all NaN.

    Raises:
      ValueError: if the shapes differ, or `bins < 1`.

    >>> calibration_bins(jnp.array([[0.9, 0.1]]), jnp.array([[1.0, 0.0]]), 2).tolist()[1]
    [1.0, 0.8999999761581421, 1.0]
    """
    check_classes(probabilities, targets)
    at_least(1, bins=bins)
    probabilities = real_only(probabilities, weights)
    weights = jnp.ones(len(targets)) if weights is None else weights
    confidence = probabilities.max(-1)
    hit = (probabilities.argmax(-1) == targets.argmax(-1)).astype(confidence.dtype)
    at = jnp.clip((confidence * bins).astype("int32"), 0, bins - 1)
    rows = jnp.stack([jnp.ones_like(hit), confidence, hit], 1)
    table = jnp.zeros((bins, 3), rows.dtype)
    table = table.at[at].add(rows * weights.astype(rows.dtype)[:, None])
    return jnp.where(jnp.any(jnp.isnan(probabilities)), jnp.nan, table)


def calibration_error(table: Float[Array, "bins 3"]) -> Scalar:
    """Expected calibration error of a table of `calibration_bins`.

        ECE = sum_b n_b / n |accuracy_b - confidence_b|

    References:
      Guo et al. 2017, arXiv:1706.04599, eq. 3.

    >>> round(float(calibration_error(jnp.array([[10.0, 9.0, 8.0]]))), 4)
    0.1
    """
    count, confidence, hits = jnp.asarray(table).T
    total = count.sum()
    return jnp.sum(jnp.abs(hits - confidence)) / jnp.where(total == 0, 1, total)


def ece(
    probabilities: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    bins: int = 15,
    weights: Float[Array, " n"] | None = None,
) -> Scalar:
    """Expected calibration error: how far confidence is from accuracy.

    Args:
      probabilities: `[n, c]`, rows of sum 1.
      targets: one-hot rows `[n, c]`.
      bins: of equal width. Few predictions in many bins look worse than they are: over
        episodes, add the tables of `calibration_bins`.
      weights: `[n]`, or `None` for all 1.

    Returns:
      A scalar in [0, 1], or NaN.

    Raises:
      ValueError: as `calibration_bins`.

    >>> round(float(ece(jnp.full((4, 2), 0.5), jnp.eye(2)[jnp.array([0, 0, 1, 1])])), 4)
    0.0
    """
    return calibration_error(calibration_bins(probabilities, targets, bins, weights))
