"""How learners run a network on a batch whose examples have weights."""

from typing import Any

from jaxmeta.core import Array, Key, Meta, Model, PyTree
from jaxmeta.functional.rows import example_weights, takes_weights, weights_dropped


def call(
    model: Model,
    meta: Meta,
    inputs: PyTree,
    *,
    weights: Array | None = None,
    train: Any = False,
    key: Key | None = None,
    **options: Any,
) -> tuple[Any, PyTree]:
    """`model.apply`, told the weights of the batch where there are any.

    A model whose `apply` takes `weights` is given them. One that does not is taken at
    its word that its examples do not mix; should a layer inside take statistics of the
    batch all the same, it refuses (`functional.rows.check_not_dropped`).

    Args:
      model: a `Model`, or a `PerStep` one.
      meta: its parameters and buffers.
      inputs: a pytree with leaves `[n, ...]`.
      weights: `[n]`, or `None`: all rows count.
      train: as of `apply`.
      key: as of `apply`.
      **options: for `apply`, as "step" of a `PerStep` model.

    Returns:
      `(outputs, buffers)`.

    Raises:
      ValueError: if a layer mixes examples and the weights do not reach it.
    """
    if weights is None:
        return model.apply(meta, inputs, train=train, key=key, **options)
    if takes_weights(model.apply):
        weights = example_weights(weights)
        return model.apply(
            meta, inputs, train=train, key=key, weights=weights, **options
        )
    with weights_dropped():
        return model.apply(meta, inputs, train=train, key=key, **options)
