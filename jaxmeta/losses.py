"""Task losses: `(outputs, targets) -> scalar`, blind to padding rows."""

import jax
import jax.numpy as jnp

from jaxmeta.core import Array, Scalar


def _check_same_shape(outputs: Array, targets: Array) -> None:
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs: got shape {outputs.shape}, wants that of targets {targets.shape}"
        )


def _nonzero(total: Scalar) -> Scalar:
    # A task of padding alone has loss zero, not 0/0.
    return jnp.where(total > 0, total, jnp.ones_like(total))


def cross_entropy(outputs: Array, targets: Array) -> Scalar:
    """Mean negative log-likelihood of one-hot targets under softmax outputs.

        L = -sum_{i,c} t_ic log softmax(z_i)_c / sum_{i,c} t_ic

    Args:
      outputs: logits `[n, c]`.
      targets: one-hot rows `[n, c]`; rows of zeros are padding and weigh nothing.

    Returns:
      A scalar, in nats per (real) example.

    Raises:
      ValueError: if the shapes differ.

    >>> round(float(cross_entropy(jnp.zeros((2, 4)), jnp.eye(2, 4))), 4)  # log 4
    1.3863
    """
    _check_same_shape(outputs, targets)
    log_p = jax.nn.log_softmax(outputs)
    return -jnp.sum(targets * log_p) / _nonzero(targets.sum())


def over_present(outputs: Array, targets: Array) -> Array:
    """Takes out of scores the classes that no target names, such as padded columns.

        z_ic -> z_ic if sum_j t_jc > 0, else a number so low that no softmax sees it

    Where `targets` are not one-hot rows (regression) nothing changes.

    Args:
      outputs: scores or logits `[n, c]`.
      targets: `[m, c]`, of the support set: a class that is not in it cannot be known.

    Returns:
      `[n, c]`.

    >>> over_present(jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]])).argmax().tolist()
    0
    """
    one_hot = jnp.all((targets == 0) | (targets == 1)) & jnp.all(targets.sum(-1) <= 1)
    absent = one_hot & (targets.sum(0) == 0) & jnp.any(targets != 0)
    # finite, and far enough from the largest number that a softmax cannot overflow
    return jnp.where(absent, jnp.finfo(outputs.dtype).min / 4, outputs)


def present_cross_entropy(outputs: Array, targets: Array) -> Scalar:
    """Cross-entropy of a softmax over the classes that occur in `targets` alone.

    The task loss for episodes of varying ways (`tasks.meta_dataset`): with it a network
    of 50 outputs learns a task of 7 classes as a network of 7 outputs would.

        L = -sum_{i,c} t_ic log softmax_{c present}(z_i)_c / sum_{i,c} t_ic

    Args:
      outputs: logits `[n, c]`.
      targets: one-hot rows `[n, c]`; rows and columns of zeros are padding.

    Returns:
      A scalar, in nats per (real) example.

    Raises:
      ValueError: if the shapes differ.

    >>> target = jnp.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> round(float(present_cross_entropy(jnp.zeros((2, 3)), target)), 4)  # log 2
    0.6931
    """
    _check_same_shape(outputs, targets)
    return cross_entropy(over_present(outputs, targets), targets)


def nll(outputs: Array, targets: Array) -> Scalar:
    """Mean negative log-likelihood for outputs that already are log-probabilities.

        L = -sum_{i,c} t_ic z_ic / sum_{i,c} t_ic

    Args:
      outputs: log-probabilities `[n, c]`.
      targets: one-hot rows `[n, c]`; rows of zeros are padding.

    Returns:
      A scalar, in nats per (real) example.

    Raises:
      ValueError: if the shapes differ.

    >>> round(float(nll(jnp.log(jnp.array([[0.5, 0.5]])), jnp.array([[1.0, 0.0]]))), 4)
    0.6931
    """
    _check_same_shape(outputs, targets)
    return -jnp.sum(targets * outputs) / _nonzero(targets.sum())


def mse(outputs: Array, targets: Array) -> Scalar:
    """Mean squared error over all examples and output dimensions.

        L = 1/(n c) sum_{i,j} (y_ij - t_ij)^2

    Args:
      outputs: `[n, c]`.
      targets: real values `[n, c]`.

    Returns:
      A scalar, in squared units of the targets.

    Raises:
      ValueError: if the shapes differ.

    >>> float(mse(jnp.array([[1.0], [3.0]]), jnp.array([[1.0], [1.0]])))
    2.0
    """
    _check_same_shape(outputs, targets)
    return jnp.mean(jnp.square(outputs - targets))
