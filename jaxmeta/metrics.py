"""What a task is judged by: `(outputs, targets, weights) -> scalar`.

Rows of weight 0 do not count; an output that is NaN makes the metric NaN.
"""

import jax.numpy as jnp

from jaxmeta import losses
from jaxmeta.calibration import calibration_bins as calibration_bins
from jaxmeta.calibration import calibration_error as calibration_error
from jaxmeta.calibration import ece as ece
from jaxmeta.checks import at_least
from jaxmeta.core import Array, Scalar
from jaxmeta.losses import check_classes, check_same_shape, weighted_mean
from jaxmeta.shapes import Float

mse = losses.mse


def _hits(outputs: Array, targets: Array) -> Array:
    """1 where the largest output is the target, 0 elsewhere, NaN where outputs are."""
    hit = (outputs.argmax(-1) == targets.argmax(-1)).astype(outputs.dtype)
    return jnp.where(jnp.any(jnp.isnan(outputs), -1), jnp.nan, hit)


def accuracy(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
) -> Scalar:
    """Fraction of the examples whose largest output is the target.

        acc = sum_i w_i [argmax z_i = argmax t_i] / sum_i w_i

    Args:
      outputs: scores `[n, c]`.
      targets: one-hot (or soft) rows `[n, c]`.
      weights: `[n]`, or `None` for all 1.

    Returns:
      A scalar in [0, 1], or NaN.

    Raises:
      ValueError: if the shapes differ, or are not those of class scores.

    >>> float(accuracy(jnp.eye(4), jnp.eye(4)[jnp.array([0, 1, 1, 3])]))
    0.75
    """
    check_classes(outputs, targets)
    return weighted_mean(_hits(outputs, targets), weights)


def label_accuracy(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
) -> Scalar:
    """Fraction of yes-or-no labels that are right, a logit above 0 being a yes.

        acc = 1/c sum_i w_i sum_j [(z_ij > 0) = (t_ij > 1/2)] / sum_i w_i

    Args:
      outputs: logits `[n, c]`.
      targets: `[n, c]` in [0, 1].
      weights: `[n]`, or `None` for all 1.

    Returns:
      A scalar in [0, 1], or NaN.

    Raises:
      ValueError: if the shapes differ.

    >>> float(label_accuracy(jnp.array([[2.0, -1.0]]), jnp.array([[1.0, 1.0]])))
    0.5
    """
    check_same_shape(outputs, targets)
    right = ((outputs > 0) == (targets > 0.5)).astype(outputs.dtype)
    right = jnp.where(jnp.isnan(outputs), jnp.nan, right)
    return weighted_mean(right.reshape(right.shape[0], -1).mean(-1), weights)


def exact_match(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
) -> Scalar:
    """Fraction of the examples all of whose yes-or-no labels are right.

    Args:
      outputs: logits `[n, c]`.
      targets: `[n, c]` in [0, 1].
      weights: `[n]`, or `None` for all 1.

    Returns:
      A scalar in [0, 1], or NaN.

    Raises:
      ValueError: if the shapes differ.

    >>> float(exact_match(jnp.array([[2.0, -1.0]]), jnp.array([[1.0, 1.0]])))
    0.0
    """
    check_same_shape(outputs, targets)
    flat = outputs.reshape(outputs.shape[0], -1)
    right = (flat > 0) == (targets.reshape(flat.shape) > 0.5)
    row = jnp.all(right, -1).astype(outputs.dtype)
    row = jnp.where(jnp.any(jnp.isnan(flat), -1), jnp.nan, row)
    return weighted_mean(row, weights)


def rmse(
    outputs: Float[Array, "n ..."],
    targets: Float[Array, "n ..."],
    weights: Float[Array, " n"] | None = None,
) -> Scalar:
    """Root of the mean squared error, in the units of the targets.

        RMSE = sqrt(mse)

    Args:
      outputs: `[n, ...]`.
      targets: real values `[n, ...]`.
      weights: `[n]`, or `None` for all 1.

    Returns:
      A scalar, or NaN.

    Raises:
      ValueError: if the shapes differ.

    >>> round(float(rmse(jnp.array([[1.0], [4.0]]), jnp.array([[1.0], [1.0]]))), 4)
    2.1213
    """
    return jnp.sqrt(mse(outputs, targets, weights))


def ndcg(
    outputs: Float[Array, "n ..."],
    targets: Float[Array, "n ..."],
    weights: Float[Array, " n"] | None = None,
    *,
    at: int = 5,
) -> Scalar:
    """How good the top of a list is that is sorted by the outputs; the best has 1.

        DCG = sum_{i <= at} (2^{t_(i)} - 1) / log2(i + 1),   nDCG = DCG / best DCG

    Where outputs tie, it is the mean over all orders of those rows: a constant is worth
    what a shuffled list is on average, and the order of the rows does not matter.

    Args:
      outputs: scores `[n]` or `[n, 1]`.
      targets: what each row is worth, >= 0: stars, say.
      weights: `[n]`; a row of weight 0 is not in the list, any other is, once.
      at: how many places count.

    Returns:
      A scalar in [0, 1], or NaN; 1 where nothing is worth anything.

    Raises:
      ValueError: if the shapes differ, or there are more columns than one.

    References:
      Jaervelin and Kekaelaeinen 2002, https://doi.org/10.1145/582415.582418; ties:
      McSherry and Najork 2008, https://doi.org/10.1007/978-3-540-78646-7_38.

    >>> round(float(ndcg(jnp.array([3.0, 2.0]), jnp.array([0.0, 1.0]), at=2)), 4)
    0.6309
    """
    check_same_shape(outputs, targets)
    at_least(1, at=at)
    if outputs.size != len(outputs):
        raise ValueError(f"outputs: got {list(outputs.shape)}, wants one number a row")
    scores, worth = outputs.reshape(-1), targets.reshape(-1)
    there = jnp.ones(len(scores), bool) if weights is None else weights > 0
    gains = jnp.where(there, 2.0**worth - 1, 0)
    best = _dcg(worth, gains, there, at)
    found = _dcg(scores, gains, there, at) / jnp.where(best > 0, best, 1)
    found = jnp.where(best > 0, found, 1)
    return jnp.where(jnp.any(jnp.isnan(scores) & there), jnp.nan, found)


def _dcg(scores: Array, gains: Array, there: Array, at: int) -> Array:
    """Discounted gains of a sorted list; rows that tie share the discounts of their places."""
    n = len(scores)
    places = jnp.arange(n)
    discounts = jnp.where(places < at, 1 / jnp.log2(places + 2.0), 0)
    below = jnp.concatenate(
        [jnp.zeros(1), jnp.cumsum(discounts)]
    )  # of the first so many
    above = jnp.sum(there & (scores > scores[:, None]), 1)
    level = jnp.sum(there & (scores == scores[:, None]), 1)
    shared = (below[above + level] - below[above]) / jnp.maximum(level, 1)
    return jnp.sum(gains * shared)


def confusion(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, "c c"]:
    """How often each class was taken for each.

        C_ab = sum_i w_i [argmax t_i = a] [argmax z_i = b]

    Args:
      outputs: scores `[n, c]`.
      targets: one-hot (or soft) rows `[n, c]`.
      weights: `[n]`, or `None` for all 1.

    Returns:
      `[c, c]`: rows are true classes, columns predicted ones. A row whose outputs are
      NaN is NaN in all columns.

    Raises:
      ValueError: if the shapes differ, or are not those of class scores.

    >>> confusion(jnp.eye(2)[jnp.array([0, 0])], jnp.eye(2)).tolist()
    [[1.0, 0.0], [1.0, 0.0]]
    """
    check_classes(outputs, targets)
    c, dtype = outputs.shape[-1], outputs.dtype
    true = targets.argmax(-1)[:, None] == jnp.arange(c)
    said = (outputs.argmax(-1)[:, None] == jnp.arange(c)).astype(dtype)
    said = jnp.where(jnp.any(jnp.isnan(outputs), -1, keepdims=True), jnp.nan, said)
    weights = jnp.ones(len(outputs), dtype) if weights is None else weights
    counted = true & (weights > 0)[:, None]  # 0 times NaN is NaN: choose, then add
    rows = jnp.where(counted[:, :, None], (said * weights[:, None])[:, None, :], 0)
    return rows.sum(0)


def accuracy_by_instance(
    outputs: Float[Array, "t c"],
    targets: Float[Array, "t c"],
    instances: int,
    weights: Float[Array, " t"] | None = None,
) -> Float[Array, " instances"]:
    """Accuracy along a sequence, by how often the class has been seen.

        acc_k = mean over steps t at which the class of t appears for the k-th time

    The first can only be guessed; the second shows what one example teaches.

    Args:
      outputs: scores `[t, c]`, in the order of the sequence.
      targets: one-hot rows `[t, c]`.
      instances: how many numbers are wanted.
      weights: `[t]`, or `None` for all 1; rows of weight 0 are not in the sequence.

    Returns:
      `[instances]` in [0, 1]; 0 for a number that no class reaches.

    Raises:
      ValueError: if the shapes differ, or `instances < 1`.

    References:
      Santoro et al. 2016, arXiv:1605.06065, table 1.

    >>> labels = jnp.eye(2)[jnp.array([0, 0, 1])]
    >>> accuracy_by_instance(jnp.eye(2)[jnp.array([1, 0, 1])], labels, 2).tolist()
    [0.5, 1.0]
    """
    check_classes(outputs, targets)
    at_least(1, instances=instances)
    weights = jnp.ones(len(outputs), outputs.dtype) if weights is None else weights
    there = jnp.where((weights > 0)[:, None], targets, 0)
    seen = jnp.sum(jnp.cumsum(there, 0) * there, -1)  # 1, 2, ...; 0 is padding
    at = seen[:, None] == jnp.arange(1, instances + 1)
    w = jnp.where(at, weights[:, None], 0).astype(outputs.dtype)
    hits = jnp.where(at & (w > 0), _hits(outputs, targets)[:, None], 0)
    total = w.sum(0)
    return jnp.sum(w * hits, 0) / jnp.where(total > 0, total, 1)
