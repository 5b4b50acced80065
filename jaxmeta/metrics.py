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
