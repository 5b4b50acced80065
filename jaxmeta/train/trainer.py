"""The outer loop: an objective, an Optax optimiser, one scan."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import optax
from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import Array, Key, Meta, Objective, PyTree
from jaxmeta.transfer.freeze import hold_buffers


class TrainState(NamedTuple):
    """All that decides the future of a run, beside its root key.

    Attributes:
      meta: parameters and buffers.
      opt_state: the outer optimiser's state.
      step: outer steps taken, an integer scalar; with the root key it decides which
        episodes come next.
    """

    meta: Meta
    opt_state: PyTree
    step: Array


class Trainer(NamedTuple):
    """An outer loop as two pure functions.

    Attributes:
      init: `(key, batch) -> TrainState`.
      step: `(state, batch, key) -> (TrainState, metrics)`.
    """

    init: Callable[[Key, PyTree], TrainState]
    step: Callable[[TrainState, PyTree, Key], tuple[TrainState, dict[str, Array]]]


def make_trainer(objective: Objective, tx: optax.GradientTransformation) -> Trainer:
    """Joins an objective and an outer optimiser.

        meta <- meta + tx(grad)

    Running averages of what `tx` holds still (`transfer.freeze`) stay as they are.

    Args:
      objective: hands over gradients.
      tx: any Optax transform of gradients. What it may look at beside them is given to
        it: `value`, the loss, and `grad`, as `optax.contrib.reduce_on_plateau` wants. A
        line search is none: it evaluates the loss elsewhere (`value_fn`), which is not
        what an objective's gradient need be of.

    Returns:
      A `Trainer`; `step` reports "loss", "grad_norm" and the objective's own metrics,
      but for metrics of these two names.

    Raises:
      ValueError: when a step is traced, for a line search.

    >>> import jaxmeta as jm
    >>> learner = jm.protonet(jm.models.mlp(None))
    >>> trainer = make_trainer(jm.episodic(learner), optax.adam(1e-3))
    """

    tx = optax.with_extra_args_support(tx)

    def init(key: Key, batch: PyTree) -> TrainState:
        meta = objective.init(key, batch)
        return TrainState(meta, tx.init(meta.params), jax.numpy.zeros((), "int32"))

    def step(state: TrainState, batch: PyTree, key: Key):
        (loss, aux), grads = objective.value_and_grad(state.meta, batch, key)
        try:
            updates, opt_state = tx.update(
                grads, state.opt_state, state.meta.params, value=loss, grad=grads
            )
        except TypeError as error:
            if "value_fn" not in str(error):
                raise
            raise ValueError(
                "tx: got a line search, wants a transform of gradients: what the "
                "gradient of an objective is of cannot be evaluated elsewhere"
            ) from error
        params = optax.apply_updates(state.meta.params, updates)
        buffers = hold_buffers(state.opt_state, state.meta, aux.buffers)
        own = {"loss": loss, "grad_norm": optax.tree.norm(grads)}
        metrics = {**own, **aux.metrics, **own}  # first in the order, and not replaced
        return TrainState(Meta(params, buffers), opt_state, state.step + 1), metrics

    return Trainer(init, step)


def sample_batch(sample: Callable[[Key], PyTree], key: Key, batch: int) -> PyTree:
    """`batch` independent draws, stacked on a leading axis."""
    return jax.vmap(sample)(jax.random.split(key, batch))


def fit(
    trainer: Trainer,
    sample: Callable[[Key], PyTree],
    state: TrainState,
    key: Key,
    *,
    steps: int,
    batch: int,
) -> tuple[TrainState, dict[str, Array]]:
    """Takes `steps` outer steps in one `lax.scan`, sampling inside.

    Step t sees `batch` draws of `sample`, made from `fold_in(key, t)` with t =
    `state.step`: two calls of 50 steps are one call of 100, bit for bit, and a run
    resumes from its state alone. Wrap it in `jax.jit(..., donate_argnums=...)` with the
    task as an argument; `jax.vmap` over states and keys trains many seeds at once.

    Args:
      trainer: from `make_trainer`.
      sample: a `Task`, or any `key -> pytree`.
      state: from `trainer.init`, or a former `fit`.
      key: the root key of the run, always the same one.
      steps: outer steps, >= 1.
      batch: draws (tasks) an outer step, >= 1.

    Returns:
      `(state, metrics)`, each metric `[steps]`.

    Raises:
      ValueError: if `steps` or `batch` is below 1.

    >>> import jaxmeta as jm
    >>> learner = jm.maml(jm.models.mlp(1), optax.sgd(0.01), criterion=jm.criteria.regression)
    >>> trainer, task = make_trainer(jm.episodic(learner), optax.adam(1e-3)), jm.tasks.sinusoid()
    >>> state = trainer.init(jax.random.key(0), sample_batch(task, jax.random.key(1), 4))
    >>> fit(trainer, task, state, jax.random.key(2), steps=3, batch=4)[1]["loss"].shape
    (3,)
    """
    at_least(1, steps=steps)
    at_least(1, batch=batch)

    def step(state, _):
        sampling, learning = jax.random.split(jax.random.fold_in(key, state.step))
        return trainer.step(state, sample_batch(sample, sampling, batch), learning)

    return lax.scan(step, state, None, length=steps)
