"""Examples that count more, less or not at all: what their weights do to a batch."""

import contextlib
import contextvars
import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Batch, Key, PyTree
from jaxmeta.losses import check_weights
from jaxmeta.shapes import Float, Int, Shaped


class Semi(NamedTuple):
    """Inputs of a batch with unlabelled examples beside the labelled ones.

    The weights of the batch are about the labelled ones alone.

    Attributes:
      labelled: `[n, ...]`, a row for each row of the targets.
      unlabelled: `[u, ...]`, all of them real examples of the task.
    """

    labelled: PyTree
    unlabelled: PyTree


def clean(batch: Batch) -> Batch:
    """Replaces what rows of weight 0 hold by a copy of a row that counts.

    Padding may hold anything, NaN included, and 0 times NaN is NaN: so it is taken out
    before anything is computed. A copy, not zeros, since zeros can be singular where
    data are not (the length of a vector). Without weights the batch is returned as is.

    Args:
      batch: `n` examples.

    Returns:
      The batch; where all weights are 0, its rows are zeros.

    >>> batch = Batch(jnp.array([jnp.nan, 7.0]), jnp.ones((2, 1)), jnp.array([0.0, 1.0]))
    >>> clean(batch).inputs.tolist()
    [7.0, 7.0]
    """
    if batch.weights is None:
        return batch
    inputs, targets = clean_rows((batch.inputs, batch.targets), batch.weights)
    return Batch(inputs, targets, batch.weights)


def clean_rows(rows: PyTree, weights: Array | None) -> PyTree:
    """`clean` for any tree with leaves `[n, ...]`; of `Semi` the labelled ones."""
    if weights is None:
        return rows
    real = example_weights(weights) > 0
    first, some = jnp.argmax(real), jnp.any(real)

    def one(x):
        if isinstance(x, Semi):
            return x._replace(labelled=jax.tree.map(one, x.labelled))
        x = jnp.asarray(x)
        check_weights(real, x.shape[0])
        copy = jnp.where(some, x[first], jnp.zeros_like(x[0]))
        return jnp.where(spread(real, x), x, copy)

    return jax.tree.map(one, rows, is_leaf=lambda x: isinstance(x, Semi))


def example_weights(weights: Float[Array, "n ..."]) -> Float[Array, " n"]:
    """`[n]` of weights `[n]`, or of `[n, ...]`, where an example is as good as its best place."""
    return weights if weights.ndim == 1 else weights.reshape(len(weights), -1).max(-1)


def weights_of(batch: Batch) -> Float[Array, "n ..."]:
    """`[n]`: the weights of a batch, ones where it has none."""
    if batch.weights is None:
        return jnp.ones(batch.targets.shape[0], batch.targets.dtype)
    return example_weights(batch.weights).astype(batch.targets.dtype)


def spread(weights: Array, x: Array) -> Array:
    """`[n]` as `[n, 1, ...]`, to be multiplied with `x`, `[n, ...]`."""
    return weights.reshape(-1, *(1,) * (x.ndim - 1))


def joined(first: Batch, second: Batch) -> Batch:
    """The examples of two batches as one.

    >>> joined(Batch(jnp.ones(2), jnp.ones((2, 1))), Batch(jnp.ones(1), jnp.ones((1, 1))))
    Batch(inputs=Array([1., 1., 1.], dtype=float32), targets=Array([[1.],
           [1.],
           [1.]], dtype=float32), weights=None)
    """

    def both(a, b):
        return jax.tree.map(lambda x, y: jnp.concatenate([x, y]), a, b)

    inputs, targets = both(
        (first.inputs, first.targets), (second.inputs, second.targets)
    )
    return Batch(inputs, targets, joined_weights(first, second))


def parted(
    rows: Shaped[Array, "rows ..."], n: int
) -> tuple[Shaped[Array, "n ..."], Shaped[Array, "m ..."]]:
    """The first `n` rows and the others: what `joined` has put together.

    Not two slices: the derivative of a slice is padded with zeros, and XLA for CPUs
    (jaxlib 0.10.2 to 0.12.0.1) ends the process where it fuses the product that made the
    derivative, the padding and a sum (tests/learners/test_xla_crash.py). The derivative
    of a split is a concatenation, which is not fused with them. The barrier keeps it
    one where a part has no derivative: XLA turns a concatenation with zeros to padding.

    Args:
      rows: `[n + m, ...]`.
      n: how many rows the first part has.

    Returns:
      `[n, ...]` and `[m, ...]`.

    >>> [part.tolist() for part in parted(jnp.arange(5), 2)]
    [[0, 1], [2, 3, 4]]
    """
    first, second = lax.split(rows, (n, rows.shape[0] - n))
    return lax.optimization_barrier((first, second))


def joined_weights(first: Batch, second: Batch) -> Array | None:
    """The weights of two batches as one's; `None` where neither has any."""
    if first.weights is None and second.weights is None:
        return None
    if first.weights is not None and second.weights is not None:
        return jnp.concatenate([first.weights, second.weights])
    return jnp.concatenate([weights_of(first), weights_of(second)])


def rows_at(batch: Batch, rows: Int[Array, " m"]) -> Batch:
    """Some of the examples, by number."""
    return jax.tree.map(lambda x: jnp.asarray(x)[rows], batch)


def check_minibatch(size: int | None) -> None:
    """Refuses a size of inner minibatches that is no integer above zero."""
    if size is not None:
        at_least(1, inner_batch=size)


def minibatch(batch: Batch, size: int, key: Key) -> Batch:
    """Draws examples without replacement, those of weight 0 only where there is no other.

    Which are drawn does not depend on how much padding there is, nor where: each example
    draws a number by its rank among the real ones.

    Args:
      batch: `n` examples.
      size: how many, at most `n`.
      key: decides which.

    Returns:
      A `Batch` of `size` examples.

    Raises:
      ValueError: if there are fewer.

    >>> batch = Batch(jnp.arange(3), jnp.eye(3), jnp.array([0.0, 1.0, 1.0]))
    >>> sorted(minibatch(batch, 2, jax.random.key(0)).inputs.tolist())
    [1, 2]
    """
    n = batch.targets.shape[0]
    if size > n:
        raise ValueError(
            f"inner_batch: got {size}, wants at most the {n} examples there are"
        )
    real = weights_of(batch) > 0
    draw = jax.vmap(lambda rank: jax.random.uniform(jax.random.fold_in(key, rank)))
    order = jnp.argsort(jnp.where(real, draw(jnp.cumsum(real) - 1), jnp.inf))
    return rows_at(batch, order[:size])


_dropped = contextvars.ContextVar("weights_dropped", default=False)


def takes_weights(function: Callable) -> bool:
    """Whether a function takes `weights`, by that name or among `**` others."""
    return "weights" in inspect.signature(function).parameters or takes_any(function)


def takes_any(function: Callable) -> bool:
    """Whether a function takes any keyword: it may hand them on, or drop them."""
    found = inspect.signature(function).parameters
    return "weights" not in found and any(
        p.kind == p.VAR_KEYWORD for p in found.values()
    )


@contextlib.contextmanager
def weights_dropped():
    """While a network runs that was not told the weights of its batch."""
    token = _dropped.set(True)
    try:
        yield
    finally:
        _dropped.reset(token)


def check_not_dropped(layer: str) -> None:
    """Called by what mixes examples: refuses to, where weights were lost on the way.

    Raises:
      ValueError: inside `weights_dropped`.
    """
    if _dropped.get():
        raise ValueError(
            f"weights: {layer} mixes examples, and the model around it does not pass "
            "the batch's weights on: let its apply take weights= and hand it down"
        )
