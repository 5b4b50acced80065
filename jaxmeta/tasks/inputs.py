"""What the builders of this room share: one trace, examples onto the device, into [0, 1]."""

from collections.abc import Callable
from functools import wraps

import jax
import jax.numpy as jnp
import numpy as np

from jaxmeta.checks import refusal
from jaxmeta.core import Array, Batch, Episode, PyTree
from jaxmeta.data.arrays import unit_range


def traced_once(call: Callable[..., Episode]) -> Callable[..., Episode]:
    """Of a task's `__call__`: equal static halves share one trace.

    A run has the same episodes in several programs, and tracing them takes longer than
    running them. By itself, in a notebook, an episode is one program, not a hundred of one
    operation each.
    """
    whole = jax.jit(call, static_argnums=0)

    @wraps(call)
    def once(self, *arguments):
        try:
            hash(self)
        except TypeError:  # an array among its options, say: it equals nothing
            return call(self, *arguments)
        return whole(self, *arguments)

    return once


def on_device(inputs: np.ndarray) -> Array:
    """The examples of a data set as a JAX array of the same numbers.

    Raises:
      ValueError: text and other objects, or integers that int32 cannot hold where JAX
        has no int64.
    """
    inputs = np.asarray(inputs) if not isinstance(inputs, jax.Array) else inputs
    if inputs.dtype.kind in "OSUMm":
        raise refusal(
            "inputs", f"an array of {inputs.dtype}", "numbers, all of one shape"
        )
    device = jnp.asarray(inputs)
    if inputs.dtype.kind in "iu" and device.dtype != inputs.dtype and inputs.size:
        bounds = np.iinfo(device.dtype)
        low, high = int(inputs.min()), int(inputs.max())
        if low < bounds.min or high > bounds.max:
            raise refusal(
                "inputs",
                f"{inputs.dtype} from {low} to {high}",
                f"integers that {device.dtype} holds, or jax_enable_x64",
            )
    return device


def in_unit_range(inputs: PyTree) -> PyTree:
    """`data.unit_range` of every leaf."""
    return jax.tree.map(unit_range, inputs)


def unit_episode(episode: Episode) -> Episode:
    """An episode of any task, its uint8 inputs in [0, 1]."""

    def one(batch: Batch) -> Batch:
        return batch._replace(inputs=in_unit_range(batch.inputs))

    return Episode(*map(one, episode))


def class_labels(ways: int, each: int) -> Array:
    """int32 `[ways * each]`: the labels of examples that lie class by class."""
    return jnp.repeat(jnp.arange(ways, dtype=jnp.int32), each)
