"""What a task is judged by: `(outputs, targets) -> scalar`, blind to padding rows."""

import jax.numpy as jnp

from jaxmeta import losses
from jaxmeta.core import Array, Scalar


def accuracy(outputs: Array, targets: Array) -> Scalar:
    """Fraction of the real (not padding) examples whose largest output is the target.

        acc = sum_i [argmax z_i = argmax t_i][t_i != 0] / sum_i [t_i != 0]

    Args:
      outputs: scores `[n, c]`.
      targets: one-hot rows `[n, c]`; rows of zeros are padding.

    Returns:
      A scalar in [0, 1].

    Raises:
      ValueError: if the shapes differ.

    >>> float(accuracy(jnp.eye(4), jnp.eye(4)[jnp.array([0, 1, 1, 3])]))
    0.75
    """
    losses._check_same_shape(outputs, targets)
    real = (targets.sum(-1) > 0).astype(outputs.dtype)
    hit = (outputs.argmax(-1) == targets.argmax(-1)).astype(outputs.dtype)
    return jnp.sum(hit * real) / losses._nonzero(real.sum())


def accuracy_by_instance(outputs: Array, targets: Array, instances: int) -> Array:
    """Accuracy along a sequence, by how often the class has been seen.

        acc_k = mean over steps t at which the class of t appears for the k-th time

    The first can only be guessed; the second shows what one example teaches.

    Args:
      outputs: scores `[t, c]`, in the order of the sequence.
      targets: one-hot rows `[t, c]`; rows of zeros are padding.
      instances: how many numbers are wanted.

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
    losses._check_same_shape(outputs, targets)
    if instances < 1:
        raise ValueError(f"instances: got {instances}, wants an integer >= 1")
    seen = jnp.sum(jnp.cumsum(targets, 0) * targets, -1)  # 1, 2, ...; 0 is padding
    at = (seen[:, None] == jnp.arange(1, instances + 1)).astype(outputs.dtype)
    hit = (outputs.argmax(-1) == targets.argmax(-1)).astype(outputs.dtype)
    return hit @ at / losses._nonzero(at.sum(0))


def calibration_bins(probabilities: Array, targets: Array, bins: int = 15) -> Array:
    """Sorts predictions by their confidence: what a calibration error is made of.

    Tables of several episodes may be added.

    Args:
      probabilities: `[n, c]`, rows of sum 1.
      targets: one-hot rows `[n, c]`; rows of zeros are padding and are not counted.
      bins: of equal width on [0, 1].

    Returns:
      `[bins, 3]`: how many predictions, the sum of their confidences (largest
      probabilities), and how many are right.

    Raises:
      ValueError: if the shapes differ, or `bins < 1`.

    >>> calibration_bins(jnp.array([[0.9, 0.1]]), jnp.array([[1.0, 0.0]]), 2).tolist()[1]
    [1.0, 0.8999999761581421, 1.0]
    """
    losses._check_same_shape(probabilities, targets)
    if bins < 1:
        raise ValueError(f"bins: got {bins}, wants an integer >= 1")
    real = (targets.sum(-1) > 0).astype(probabilities.dtype)
    confidence = probabilities.max(-1)
    hit = (probabilities.argmax(-1) == targets.argmax(-1)).astype(confidence.dtype)
    at = jnp.clip((confidence * bins).astype("int32"), 0, bins - 1)
    rows = jnp.stack([jnp.ones_like(hit), confidence, hit], 1) * real[:, None]
    return jnp.zeros((bins, 3), rows.dtype).at[at].add(rows)


def calibration_error(table: Array) -> Scalar:
    """Expected calibration error of a table of `calibration_bins`.

        ECE = sum_b n_b / n |accuracy_b - confidence_b|

    References:
      Guo et al. 2017, arXiv:1706.04599, eq. 3.

    >>> round(float(calibration_error(jnp.array([[10.0, 9.0, 8.0]]))), 4)
    0.1
    """
    count, confidence, hits = jnp.asarray(table).T
    return jnp.sum(jnp.abs(hits - confidence)) / losses._nonzero(count.sum())


def ece(probabilities: Array, targets: Array, bins: int = 15) -> Scalar:
    """Expected calibration error: how far confidence is from accuracy.

    Args:
      probabilities: `[n, c]`, rows of sum 1.
      targets: one-hot rows `[n, c]`; rows of zeros are padding.
      bins: of equal width. Few predictions in many bins look worse than they are: over
        episodes, add the tables of `calibration_bins`.

    Returns:
      A scalar in [0, 1].

    Raises:
      ValueError: as `calibration_bins`.

    >>> round(float(ece(jnp.full((4, 2), 0.5), jnp.eye(2)[jnp.array([0, 0, 1, 1])])), 4)
    0.0
    """
    return calibration_error(calibration_bins(probabilities, targets, bins))


mse = losses.mse


def summary(outputs: Array, targets: Array) -> dict[str, Scalar]:
    """The metric every learner reports: accuracy, or mse for a single real output.

    Args:
      outputs: `[n, c]`.
      targets: `[n, c]`. One column can hold no one-hot row, so `c == 1` is regression.

    Returns:
      `{"accuracy": scalar}` or `{"mse": scalar}`.

    >>> list(summary(jnp.zeros((4, 1)), jnp.zeros((4, 1))))
    ['mse']
    """
    if targets.shape[-1] == 1:
        return {"mse": mse(outputs, targets)}
    return {"accuracy": accuracy(outputs, targets)}
