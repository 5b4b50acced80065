"""The records everything else is made of: one task in, one number out.

A learner is four pure functions of ONE task. Nothing here has a batch-of-tasks
axis, a parameter, or a `jit`: `jax.vmap` adds the axis, the trainer adds the rest.
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, Protocol

import jax
import numpy as np
import optax
from jax.core import Tracer

from jaxmeta import shapes
from jaxmeta.checks import at_least

Array = jax.Array
Key = shapes.Key[Array, ""]
"""One key, as `jax.random.key` makes it."""
Keys = shapes.Key[Array, " n"]
"""Several, as `jax.random.split` makes them."""
PyTree = Any
Scalar = shapes.Float[Array, ""]
"""One real number, such as a loss."""


class Batch(NamedTuple):
    """`n` examples.

    Attributes:
      inputs: a pytree with leaves `[n, ...]`.
      targets: `[n, ...]` floating point. What they mean is not written in them: one-hot
        rows, real values, several labels a row. The learner's `Criterion` says which.
      weights: `[n]`, >= 0: how much each example counts, or `None`: all count 1. A row
        of weight 0 is padding, or a label that is missing: whatever it holds, it changes
        no loss, no metric, no prototype and no batch statistic.
    """

    inputs: PyTree
    targets: Array
    weights: Array | None = None

    @classmethod
    def of_labels(
        cls,
        inputs: PyTree,
        labels: Array | np.ndarray,
        ways: int,
        weights: Array | None = None,
    ) -> "Batch":
        """Examples with class numbers for labels: `targets` are their one-hot rows.

            t_ic = [y_i = c]

        Args:
          inputs: a pytree with leaves `[n, ...]`.
          labels: integers `[n, ...]` in 0 .. `ways` - 1.
          ways: the number of classes, the length of a row.
          weights: as of a `Batch`.

        Returns:
          A `Batch` with float32 targets `[n, ..., ways]`.

        Raises:
          TypeError: if the labels are no integers.
          ValueError: for a label out of range, where the labels are not traced.

        >>> Batch.of_labels(jax.numpy.zeros((2, 3)), jax.numpy.array([1, 0]), 2).targets
        Array([[0., 1.],
               [1., 0.]], dtype=float32)
        """
        known = labels
        labels = jax.numpy.asarray(labels)
        if not jax.numpy.issubdtype(labels.dtype, jax.numpy.integer):
            raise TypeError(f"labels: got {labels.dtype}, wants integers")
        at_least(1, ways=ways)
        if not isinstance(known, Tracer) and labels.size:
            known = np.asarray(known)  # inside `jit`, what JAX makes of it is traced
            low, high = int(known.min()), int(known.max())
            if low < 0 or high >= ways:
                raise ValueError(
                    f"labels: got {low} to {high}, wants 0 to {ways - 1}: ways={ways}"
                )
        return cls(inputs, jax.nn.one_hot(labels, ways, dtype="float32"), weights)


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


class Criterion(NamedTuple):
    """What a task is judged by: the one place that knows what targets mean.

    The values are in `jaxmeta.criteria`: `classification`, `regression`, `binary`,
    `multilabel`, and `each_place(criterion)` for dense and sequence outputs.

    Attributes:
      loss: `(outputs, targets, weights) -> scalar`, the weighted mean over examples.
      metrics: `(outputs, targets, weights) -> {name: scalar}`; the first is the
        headline. Where an output that counts is NaN, so are they.
      prepare: `(outputs, support) -> outputs`: what the support set rules out, such as
        classes that it has no example of.
      best: whether more of the headline is better, "max" as of an accuracy, or less,
        "min" as of an error: what chooses parameters by validation goes by it.
    """

    loss: Callable[..., Scalar]
    metrics: Callable[..., dict[str, Scalar]]
    prepare: Callable[[Any, Batch], Any] = lambda outputs, support: outputs
    best: Literal["max", "min"] = "max"


class InitFn(Protocol):
    """First parameters and buffers, from the shapes of an episode."""

    def __call__(self, key: Key, episode: Episode) -> Meta: ...


class AdaptFn(Protocol):
    """What is kept of a support set: parameters, prototypes, a memory."""

    def __call__(self, meta: Meta, support: Batch, key: Key) -> PyTree: ...


class PredictFn(Protocol):
    """Outputs `[n, ...]` for inputs `[n, ...]`."""

    def __call__(
        self, meta: Meta, fast: PyTree, inputs: PyTree, *, weights: Array | None = None
    ) -> Array: ...


class LossFn(Protocol):
    """The loss of one episode, whose gradient is the meta-gradient."""

    def __call__(
        self, meta: Meta, episode: Episode, key: Key
    ) -> tuple[Scalar, Aux]: ...


class MetaLearner(NamedTuple):
    """A meta-learning method, as four pure functions of one task.

    Attributes:
      init: `(key, episode) -> Meta`.
      adapt: `(meta, support, key) -> fast`; inference. `fast` is any pytree: adapted
        weights, prototypes, a memory.
      predict: `(meta, fast, inputs) -> outputs [n, ...]`; inference. If it takes
        `weights`, `[n]`, rows of weight 0 are padding: they change no other row, not
        even by the statistics of their batch.
      loss: `(meta, episode, key) -> (scalar, Aux)`; training. Its gradient in
        `meta.params` IS the meta-gradient; its value need not be a likelihood.
      criterion: what the queries are judged by; `None` is
        `jaxmeta.criteria.classification`, as it is for the builders.
    """

    init: InitFn
    adapt: AdaptFn
    predict: PredictFn
    loss: LossFn
    criterion: Criterion | None = None


class ModelInitFn(Protocol):
    """First parameters and buffers, from the shapes of inputs."""

    def __call__(self, key: Key, inputs: PyTree, /) -> Meta: ...


class ApplyFn(Protocol):
    """Outputs and new buffers of a network; one that mixes examples takes `weights`, too."""

    def __call__(
        self,
        meta: Meta,
        inputs: PyTree,
        /,
        *,
        train: bool = False,
        key: Key | None = None,
    ) -> tuple[Any, PyTree]: ...


class Pictures(NamedTuple):
    """What pictures a trained network wants; it is given values in [0, 1].

    Attributes:
      size: pixels a side.
      mean: subtracted from each channel, in units of [0, 1]; the network does so itself.
      std: what each channel is then divided by; the network does so itself.
      crop: share of the shorter side that its test pictures were cut to, about the centre.
      resample: "bilinear" or "bicubic": how its pictures were resized.
    """

    size: int
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    crop: float = 0.875
    resample: str = "bicubic"


class Model(NamedTuple):
    """How a network enters: two pure functions.

    Attributes:
      init: `(key, inputs) -> Meta`.
      apply: `(meta, inputs, *, train=False, key=None) -> (outputs, buffers)`. A network
        that mixes examples, as batch norm does, also takes `weights`, `[n]` or `None`;
        one that does not need not (see `jaxmeta.models.call`).
      pictures: what a pretrained network was trained with; `None`: nothing is known.
    """

    init: ModelInitFn
    apply: ApplyFn
    pictures: Pictures | None = None


Features = Annotated[Model, "without a head"]
"""A `Model` that ends in features: what a learner asks for that brings its own head."""


class ObjectiveInitFn(Protocol):
    """First parameters and buffers, from the shapes of a batch."""

    def __call__(self, key: Key, batch: PyTree, /) -> Meta: ...


class ValueAndGradFn(Protocol):
    """The mean loss of a batch, what goes with it, and a gradient like `meta.params`."""

    def __call__(
        self, meta: Meta, batch: PyTree, key: Key, /
    ) -> tuple[tuple[Scalar, Aux], PyTree]: ...


class Objective(NamedTuple):
    """What feeds the outer optimiser: gradients from one batch of anything.

    Attributes:
      init: `(key, batch) -> Meta`.
      value_and_grad: `(meta, batch, key) -> ((scalar, Aux), grads)`.
    """

    init: ObjectiveInitFn
    value_and_grad: ValueAndGradFn


class RuleInitFn(Protocol):
    """The first value of what a rule learns, for parameters like these."""

    def __call__(self, params: PyTree, /) -> PyTree: ...


class RuleMakeFn(Protocol):
    """The optimiser that learned numbers make."""

    def __call__(self, rule_params: PyTree, /) -> optax.GradientTransformation: ...


class Rule(NamedTuple):
    """A learned inner optimiser: a function from meta-parameters to an optimiser.

    Attributes:
      init: `params -> rule_params`, the initial value of what is learned.
      make: `rule_params -> optax.GradientTransformation`.
    """

    init: RuleInitFn
    make: RuleMakeFn


class Task(Protocol):
    """A distribution over tasks: one key in, one episode out, traceable by `jax.jit`.

    The builders in `jaxmeta.tasks` return a `jax.tree_util.Partial`, a pytree whose leaves
    are the data. Pass the task itself as an argument of a jitted function and its images are
    an argument of the compiled program; close over it and they become a constant inside it.
    """

    def __call__(self, key: Key, /) -> Episode: ...
