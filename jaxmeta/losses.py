"""Task losses: `(outputs, targets, weights) -> scalar`, a weighted mean over examples."""

import jax
import jax.numpy as jnp
import optax

from jaxmeta.core import Array, Scalar
from jaxmeta.shapes import Bool, Float


def check_same_shape(outputs: Array, targets: Array) -> None:
    """Refuses outputs that are not one for each target."""
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs: got shape {outputs.shape}, wants that of targets {targets.shape}"
        )


def check_classes(outputs: Array, targets: Array) -> None:
    """Refuses what cannot be one row of class scores for each example."""
    check_same_shape(outputs, targets)
    if targets.ndim != 2:
        raise ValueError(
            f"targets: got shape {targets.shape}, wants [n, c]: for labels at several "
            "places of an example use criteria.each_place(criterion)"
        )
    if targets.shape[-1] < 2:
        raise ValueError(
            f"targets: got {targets.shape[-1]} column, wants one for each of 2 or more "
            "classes: use criteria.binary for one logit, criteria.regression for a "
            "real value"
        )


def weighted_mean(
    values: Float[Array, "n ..."], weights: Float[Array, " n"] | None = None
) -> Float[Array, "..."]:
    """The mean over examples, each counting as much as its weight says.

        sum_i w_i v_i / sum_i w_i

    Args:
      values: `[n, ...]`.
      weights: `[n]`, or `None` for all 1. What a row of weight 0 holds does not matter,
        NaN included.

    Returns:
      `[...]`; zeros where all weights are 0.

    >>> float(weighted_mean(jnp.array([1.0, 4.0, jnp.nan]), jnp.array([2.0, 1.0, 0.0])))
    2.0
    """
    if weights is None:
        return values.mean(0)
    check_weights(weights, len(values))
    w = weights.astype(values.dtype).reshape(-1, *(1,) * (values.ndim - 1))
    total = w.sum()
    # a task of padding alone has loss zero, not 0/0; a weight of NaN is no padding
    kept = jnp.sum(jnp.where(w == 0, 0, w * values), 0)
    return kept / jnp.where(total == 0, 1, total)


def check_weights(weights: Array, n: int) -> None:
    """Refuses weights that are not one for each of `n` examples."""
    if weights.shape != (n,):
        raise ValueError(
            f"weights: got shape {list(weights.shape)}, wants [{n}], one for each example"
        )


def real_only(
    outputs: Float[Array, "n ..."], weights: Float[Array, " n"] | None
) -> Float[Array, "n ..."]:
    """Outputs with zeros in the rows of weight 0, so that no gradient is 0 times NaN."""
    if weights is None:
        return outputs
    check_weights(weights, len(outputs))
    return jnp.where(weights.reshape(-1, *(1,) * (outputs.ndim - 1)) == 0, 0, outputs)


def lowest(dtype) -> float:
    """The score of a class that has been taken out: finite, and lost in any softmax."""
    # far enough from the largest number that a softmax cannot overflow
    return float(jnp.finfo(dtype).min) / 4


def taken_out(outputs: Float[Array, "..."]) -> Bool[Array, "..."]:
    """Where `over_present` took a class out: a boolean array like `outputs`."""
    return outputs <= lowest(outputs.dtype) / 2


def present_classes(
    targets: Float[Array, "n c"], weights: Float[Array, " n"] | None = None
) -> Bool[Array, " c"]:
    """Which classes a support set has an example of: a boolean `[c]`.

    An example is of every class that its row gives more than the row's least: in a
    one-hot row the one, in a smoothed or mixed one those above the floor.

    Args:
      targets: `[n, c]`.
      weights: `[n]`, or `None`; rows of weight 0 show nothing.

    Returns:
      `[c]`.

    >>> present_classes(jnp.array([[0.9, 0.05, 0.05], [0.0, 0.0, 1.0]])).tolist()
    [True, False, True]
    """
    shown = targets > targets.min(-1, keepdims=True)
    if weights is not None:
        shown = shown & (weights > 0)[:, None]
    return jnp.any(shown, 0)


def over_present(
    outputs: Float[Array, "n c"], present: Bool[Array, " c"]
) -> Float[Array, "n c"]:
    """Takes out of scores the classes that cannot be known.

        z_ic -> z_ic if c is present, else a number so low that no softmax sees it

    Args:
      outputs: scores or logits `[n, c]`.
      present: a boolean `[c]`, of `present_classes`.

    Returns:
      `[n, c]`.

    >>> over_present(jnp.zeros((1, 2)), jnp.array([True, False])).argmax().tolist()
    0
    """
    return jnp.where(present, outputs, lowest(outputs.dtype))


def cross_entropy(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
    *,
    smoothing: float = 0.0,
) -> Scalar:
    """Mean negative log-likelihood of one-hot (or soft) targets under softmax outputs.

        L = -sum_i w_i sum_c t_ic log softmax(z_i)_c / sum_i w_i

    Classes that were taken out (`over_present`) have no part in the sum over c.

    Args:
      outputs: logits `[n, c]`.
      targets: `[n, c]`, rows of sum 1.
      weights: `[n]`, or `None` for all 1.
      smoothing: e; targets become (1 - e) t + e / (number of classes not taken out).

    Returns:
      A scalar, in nats per example.

    Raises:
      ValueError: if the shapes differ, or are not those of class scores.

    >>> round(float(cross_entropy(jnp.zeros((2, 4)), jnp.eye(2, 4))), 4)  # log 4
    1.3863
    """
    check_classes(outputs, targets)
    outputs = real_only(outputs, weights)
    there = ~taken_out(outputs)
    if smoothing:
        share = smoothing / jnp.maximum(there.sum(-1, keepdims=True), 1)
        targets = (1 - smoothing) * targets + share
    # the lowest score times a smoothed target would swamp all others
    log_p = jnp.where(there, jax.nn.log_softmax(outputs), 0)
    return weighted_mean(-jnp.sum(targets * log_p, -1), weights)


def nll(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
) -> Scalar:
    """Mean negative log-likelihood for outputs that already are log-probabilities.

        L = -sum_i w_i sum_c t_ic z_ic / sum_i w_i

    Args:
      outputs: log-probabilities `[n, c]`.
      targets: `[n, c]`, rows of sum 1.
      weights: `[n]`, or `None` for all 1.

    Returns:
      A scalar, in nats per example.

    Raises:
      ValueError: as `cross_entropy`.

    >>> round(float(nll(jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[1.0, 0.0]]))), 4)
    0.6931
    """
    check_classes(outputs, targets)
    outputs = real_only(outputs, weights)
    log_p = jnp.where(taken_out(outputs), 0, outputs)
    return weighted_mean(-jnp.sum(targets * log_p, -1), weights)


def binary_cross_entropy(
    outputs: Float[Array, "n c"],
    targets: Float[Array, "n c"],
    weights: Float[Array, " n"] | None = None,
) -> Scalar:
    """Mean negative log-likelihood of independent yes-or-no labels under sigmoids.

        L = -1/c sum_i w_i sum_j [t_ij log s(z_ij) + (1 - t_ij) log s(-z_ij)] / sum_i w_i

    Args:
      outputs: logits `[n, c]`: one column for two classes, or one a label.
      targets: `[n, c]` in [0, 1].
      weights: `[n]`, or `None` for all 1.

    Returns:
      A scalar, in nats per label.

    Raises:
      ValueError: if the shapes differ.

    >>> round(float(binary_cross_entropy(jnp.zeros((2, 1)), jnp.ones((2, 1)))), 4)
    0.6931
    """
    check_same_shape(outputs, targets)
    each = optax.sigmoid_binary_cross_entropy(real_only(outputs, weights), targets)
    return weighted_mean(_mean_of_rest(each), weights)


def mse(
    outputs: Float[Array, "n ..."],
    targets: Float[Array, "n ..."],
    weights: Float[Array, " n"] | None = None,
) -> Scalar:
    """Mean squared error over examples and output dimensions.

        L = 1/c sum_i w_i sum_j (y_ij - t_ij)^2 / sum_i w_i

    Args:
      outputs: `[n, ...]`.
      targets: real values `[n, ...]`.
      weights: `[n]`, or `None` for all 1.

    Returns:
      A scalar, in squared units of the targets.

    Raises:
      ValueError: if the shapes differ.

    >>> float(mse(jnp.array([[1.0], [3.0]]), jnp.array([[1.0], [1.0]])))
    2.0
    """
    check_same_shape(outputs, targets)
    if weights is not None:  # a missing target may be NaN
        targets = real_only(targets, weights)
    return weighted_mean(
        _mean_of_rest(jnp.square(real_only(outputs, weights) - targets)), weights
    )


def _mean_of_rest(x: Array) -> Array:
    return x.reshape(x.shape[0], -1).mean(-1)
