"""The records everything else is made of: one task in, one number out.

A learner is four pure functions of ONE task. Nothing here has a batch-of-tasks
axis, a parameter, or a `jit`: `jax.vmap` adds the axis, the trainer adds the rest.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import optax

Array = jax.Array
Key = jax.Array
PyTree = Any
Scalar = jax.Array


class Batch(NamedTuple):
    """`n` examples.

    Attributes:
      inputs: a pytree with leaves `[n, ...]`.
      targets: `[n, c]` floating point: one-hot rows (classification) or real values
        (regression). In classification a row of zeros is padding: it changes no
        loss, no metric and no prototype.
    """

    inputs: PyTree
    targets: Array


class Episode(NamedTuple):
    """One task: learn from `support`, be judged on `query`."""

    support: Batch
    query: Batch


class Meta(NamedTuple):
    """What persists between tasks (slow).

    Attributes:
      params: moved by the outer optimiser.
      buffers: not moved by it (running averages, frozen backbones); floating point.
    """

    params: PyTree
    buffers: PyTree = ()


class Aux(NamedTuple):
    """What a loss reports beside its value.

    Attributes:
      metrics: name -> scalar.
      buffers: the new buffers, or `None` if they are unchanged.
    """

    metrics: dict[str, Array]
    buffers: PyTree | None = None


class InitFn(Protocol):
    def __call__(self, key: Key, episode: Episode) -> Meta: ...


class AdaptFn(Protocol):
    def __call__(self, meta: Meta, support: Batch, key: Key) -> PyTree: ...


class PredictFn(Protocol):
    def __call__(self, meta: Meta, fast: PyTree, inputs: PyTree) -> Array: ...


class LossFn(Protocol):
    def __call__(
        self, meta: Meta, episode: Episode, key: Key
    ) -> tuple[Scalar, Aux]: ...


class MetaLearner(NamedTuple):
    """A meta-learning method, as four pure functions of one task.

    Attributes:
      init: `(key, episode) -> Meta`.
      adapt: `(meta, support, key) -> fast`; inference. `fast` is any pytree: adapted
        weights, prototypes, a memory.
      predict: `(meta, fast, inputs) -> outputs [n, c]`; inference.
      loss: `(meta, episode, key) -> (scalar, Aux)`; training. Its gradient in
        `meta.params` IS the meta-gradient; its value need not be a likelihood.
    """

    init: InitFn
    adapt: AdaptFn
    predict: PredictFn
    loss: LossFn


class ApplyFn(Protocol):
    def __call__(
        self, meta: Meta, inputs: PyTree, *, train: bool = False, key: Key | None = None
    ) -> tuple[Any, PyTree]: ...


class Model(NamedTuple):
    """How a network enters: two pure functions.

    Attributes:
      init: `(key, inputs) -> Meta`.
      apply: `(meta, inputs, *, train=False, key=None) -> (outputs, buffers)`.
    """

    init: Callable[[Key, PyTree], Meta]
    apply: ApplyFn


class Objective(NamedTuple):
    """What feeds the outer optimiser: gradients from one batch of anything.

    Attributes:
      init: `(key, batch) -> Meta`.
      value_and_grad: `(meta, batch, key) -> ((scalar, Aux), grads)`.
    """

    init: Callable[[Key, PyTree], Meta]
    value_and_grad: Callable[[Meta, PyTree, Key], tuple[tuple[Scalar, Aux], PyTree]]


class Rule(NamedTuple):
    """A learned inner optimiser: a function from meta-parameters to an optimiser.

    Attributes:
      init: `params -> rule_params`, the initial value of what is learned.
      make: `rule_params -> optax.GradientTransformation`.
    """

    init: Callable[[PyTree], PyTree]
    make: Callable[[PyTree], optax.GradientTransformation]


Task = Callable[[Key], Episode]
"""A distribution over tasks: one key in, one episode out, traceable by `jax.jit`.

The builders in `jaxmeta.tasks` return a `jax.tree_util.Partial`, a pytree whose leaves are
the data. Pass the task itself as an argument of a jitted function and its images are an
argument of the compiled program; close over it and they become a constant inside it.
"""
