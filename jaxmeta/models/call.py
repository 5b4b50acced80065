"""How learners run a network on a batch whose examples have weights."""

import contextlib
from collections.abc import Callable
from typing import Any, Protocol

import flax.linen as nn
from flax import nnx

from jaxmeta.core import Array, Key, Meta, PyTree
from jaxmeta.functional.rows import (
    example_weights,
    takes_any,
    takes_weights,
    weights_dropped,
)
from jaxmeta.shapes import Float


class Applied(Protocol):
    """A `Model`, or a `PerStep` one."""

    @property
    def apply(self) -> Callable[..., tuple[Any, PyTree]]: ...


def call(
    model: Applied,
    meta: Meta,
    inputs: PyTree,
    *,
    weights: Float[Array, " n"] | None = None,
    train: Any = False,
    key: Key | None = None,
    **options: Any,
) -> tuple[Any, PyTree]:
    """`model.apply`, told the weights of the batch where there are any.

    A model whose `apply` takes `weights` is given them. One that does not is taken at
    its word that its examples do not mix; should a layer inside take statistics of the
    batch all the same, it refuses (`functional.rows.check_not_dropped`). So it does
    where an `apply` that takes any keyword does not hand them on.

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
        options["weights"] = example_weights(weights)
    declared = takes_weights(model.apply) and not takes_any(model.apply)
    with contextlib.nullcontext() if declared else weights_dropped():
        return model.apply(meta, inputs, train=train, key=key, **options)


def check_model(model: Any, name: str = "model") -> None:
    """Refuses what is no `Model`, and says how to make one of it.

    Args:
      model: what a learner or a wrapper was given for a network.
      name: of the argument.

    Raises:
      TypeError: for a Flax module, its class, or anything without `init` and `apply`.

    >>> check_model(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
    Traceback (most recent call last):
    TypeError: model: got an NNX module, wants a Model: jaxmeta.models.from_nnx(Linear(...))
    """
    if isinstance(model, nnx.Module):
        got, how = "an NNX module", f"from_nnx({type(model).__name__}(...))"
    elif isinstance(model, nn.Module):
        got, how = "a Linen module", f"from_linen({type(model).__name__}(...))"
    elif isinstance(model, type) and issubclass(model, nnx.Module):
        got = f"the class {model.__name__}"
        how = f"from_nnx(lambda rngs: {model.__name__}(...))"
    elif isinstance(model, type) and issubclass(model, nn.Module):
        got, how = f"the class {model.__name__}", f"from_linen({model.__name__}(...))"
    elif callable(getattr(model, "init", None)) and callable(
        getattr(model, "apply", None)
    ):
        return
    else:
        raise TypeError(
            f"{name}: got {type(model).__name__}, wants a Model: of jaxmeta.models, or "
            "from_nnx, from_linen for a module of your own"
        )
    raise TypeError(f"{name}: got {got}, wants a Model: jaxmeta.models.{how}")
