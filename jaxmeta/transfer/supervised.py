"""Ordinary classification of all classes at once: where transfer starts from."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxmeta import criteria
from jaxmeta.core import Array, Aux, Batch, Criterion, Key, Meta, Model, Objective
from jaxmeta.data.arrays import Dataset, unit_range
from jaxmeta.functional.rows import clean
from jaxmeta.models.call import call


def supervised(
    model: Model, *, criterion: Criterion | Callable = criteria.classification
) -> Objective:
    """The pretraining objective: one network, many classes, minibatches.

        min_theta  E L(f(x), y)

    Norms work on the statistics of the minibatch, and their running averages move.

    Args:
      model: the network with its classifier, `conv4(964, norm="batch_running")` say.
      criterion: L, see `jaxmeta.criteria`; `criteria.label_smoothing(0.1)` is common.

    Returns:
      An `Objective` whose batch is a `Batch`; `examples` draws it.

    >>> import optax, jaxmeta as jm
    >>> data = jm.data.from_counts(np.zeros((4, 2), "float32"), [2, 2], ("a", "b"))
    >>> trainer = jm.make_trainer(supervised(jm.models.mlp(2)), optax.adam(1e-3))
    >>> draw = examples(data)
    >>> batch = jm.train.sample_batch(draw, jax.random.key(0), 8)
    >>> state = trainer.init(jax.random.key(1), batch)
    >>> state, _ = jm.fit(trainer, draw, state, jax.random.key(2), steps=2, batch=8)
    """
    criterion = criteria.as_criterion(criterion)

    def loss(meta: Meta, batch: Batch, key: Key):
        batch = clean(batch)
        weights = batch.weights
        outputs, buffers = call(
            model, meta, batch.inputs, weights=weights, train=True, key=key
        )
        against = (outputs, batch.targets, weights)
        return criterion.loss(*against), Aux(criterion.metrics(*against), buffers)

    return Objective(
        lambda key, batch: model.init(key, clean(batch).inputs), gradient_of(loss)
    )


def gradient_of(loss: Callable) -> Callable:
    """`(meta, batch, key) -> ((value, aux), gradient in meta.params)`."""

    def value_and_grad(meta: Meta, batch, key: Key):
        def of_params(params):
            return loss(meta._replace(params=params), batch, key)

        return jax.value_and_grad(of_params, has_aux=True)(meta.params)

    return value_and_grad


def examples(
    data: Dataset, *, augment: Callable[[Key, Array], Array] | None = None
) -> Partial:
    """Builds the draw of one labelled example; `fit(..., batch=64)` makes minibatches.

    Every example of the set is equally likely, with replacement, and minibatch t is a
    function of the run's key and t alone. uint8 becomes float32 in [0, 1] once drawn.

    Args:
      data: the examples, grouped by class.
      augment: `(key, example) -> example`, after that.

    Returns:
      `key -> Batch` of one example: inputs `[...]`, targets `[classes]`. It is a pytree
      whose leaves are the data; pass it to a jitted function as an argument.

    Raises:
      ValueError: if there are no examples.

    >>> from jaxmeta.data import from_counts
    >>> data = from_counts(np.zeros((3, 8, 8, 1), np.uint8), [2, 1], ("a", "b"))
    >>> jax.tree.map(jnp.shape, examples(data)(jax.random.key(0)))
    Batch(inputs=(8, 8, 1), targets=(2,), weights=None)
    """
    if not len(data.inputs):
        raise ValueError("data: got no examples, wants at least 1")
    starts = jnp.asarray(np.asarray(data.starts), jnp.int32)
    return Partial(_Example(augment), jnp.asarray(data.inputs), starts)


@dataclass(frozen=True)
class _Example:
    """The static half of a draw, compared by value."""

    augment: Callable[[Key, Array], Array] | None

    def __call__(self, inputs: Array, starts: Array, key: Key) -> Batch:
        row_key, key = jax.random.split(key)
        row = jax.random.randint(row_key, (), 0, len(inputs), jnp.int32)
        # the last class to start at or before the row; empty ones start there, too
        label = jnp.searchsorted(starts, row, side="right") - 1
        x = inputs.reshape(len(inputs), -1)[row].reshape(inputs.shape[1:])
        x = unit_range(x)
        x = x if self.augment is None else self.augment(key, x)
        return Batch(x, jax.nn.one_hot(label, len(starts), dtype=jnp.float32))
