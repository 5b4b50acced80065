"""A network that learns a stream by gradient steps, alone or with a memory of the past."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmeta import losses
from jaxmeta.checks import at_least
from jaxmeta.core import Array, Batch, Key, Meta, Model, PyTree
from jaxmeta.functional.reservoir import Reservoir, empty_reservoir, kept, recalled
from jaxmeta.functional.rows import clean, weights_of
from jaxmeta.models.call import call
from jaxmeta.transfer.continual import Continual


class Stepping(NamedTuple):
    """Parameters, what the optimiser keeps, and the memory, or `()` without one."""

    params: PyTree
    moments: PyTree
    memory: Reservoir | tuple


def fine_tuning(
    model: Model,
    tx: optax.GradientTransformation,
    *,
    loss: Callable[..., Array] = losses.cross_entropy,
) -> Continual:
    """One gradient step an example, in their order: what is forgotten, is forgotten.

        phi <- phi - alpha grad L(phi; x_i)

    With `models.linear_head` on the features that `oml` or `anml` learned it is the
    stream of their papers' test.

    Args:
      model: the network with its classifier; `meta.params` is where it starts.
      tx: the optimiser; `transfer.freeze` leaves parts as they are.
      loss: `(outputs, targets, weights) -> scalar`, over all classes, those to come too.

    Returns:
      A `Continual`.
    """
    return _stepping(model, tx, loss, 0, 0)


def replay(
    model: Model,
    tx: optax.GradientTransformation,
    *,
    capacity: int,
    count: int = 8,
    loss: Callable[..., Array] = losses.cross_entropy,
) -> Continual:
    """`fine_tuning` on each example beside some of the past, from a reservoir.

        phi <- phi - alpha grad (L(phi; x_i) + sum_{m in draw} L(phi; x_m)) / (1 + count)

    Args:
      model: as of `fine_tuning`.
      tx: likewise.
      capacity: examples that are kept, a fair sample of all that came.
      count: examples drawn of them beside each new one.
      loss: as of `fine_tuning`.

    Returns:
      A `Continual`.

    Raises:
      ValueError: if `capacity` or `count` is below 1.

    References:
      Chaudhry et al. 2019, On Tiny Episodic Memories in Continual Learning,
      arXiv:1902.10486: experience replay with a reservoir.
    """
    at_least(1, capacity=capacity, count=count)
    return _stepping(model, tx, loss, capacity, count)


def _stepping(model, tx, loss, capacity: int, count: int) -> Continual:
    def start(meta: Meta, batch: Batch, key: Key) -> Stepping:
        del key
        memory = ()
        if capacity:
            row = jax.tree.map(lambda x: x[0], (batch.inputs, batch.targets))
            memory = empty_reservoir(row, capacity)
        return Stepping(meta.params, tx.init(meta.params), memory)

    def learn(meta: Meta, state: Stepping, batch: Batch, key: Key) -> Stepping:
        batch = clean(batch)

        def judged(params, x, y, w, key):
            outputs, _ = call(
                model, meta._replace(params=params), x, weights=w, train=True, key=key
            )
            return loss(outputs, y, w)

        def step(state: Stepping, seen):
            x, y, weight, i = seen
            drawing, keeping, noise = jax.random.split(jax.random.fold_in(key, i), 3)
            memory, rows = state.memory, jax.tree.map(lambda a: a[None], (x, y))
            w = jnp.ones(1)
            if isinstance(memory, Reservoir):
                old, there = recalled(memory, count, drawing)
                rows = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), rows, old)
                w = jnp.concatenate([w, there])
                memory = kept(memory, (x, y), keeping)
            slope = jax.grad(judged)(state.params, *rows, w, noise)
            updates, moments = tx.update(slope, state.moments, state.params)
            params = optax.apply_updates(state.params, updates)
            after = Stepping(params, moments, memory)
            # padding is no step: not of the optimiser, nor of the memory
            after = jax.tree.map(lambda a, b: jnp.where(weight > 0, a, b), after, state)
            return after, ()

        n = batch.targets.shape[0]
        rows = (batch.inputs, batch.targets, weights_of(batch), jnp.arange(n))
        return jax.lax.scan(step, state, rows)[0]

    def predict(meta: Meta, state: Stepping, inputs) -> Array:
        return call(model, meta._replace(params=state.params), inputs)[0]

    return Continual(start, learn, predict)
