"""What to do about numbers that are not finite: hold still, or leave the task out."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import Mesh

from jaxmeta.core import Array, Aux, Episode, Key, Meta, MetaLearner, Objective, PyTree
from jaxmeta.shapes import Bool
from jaxmeta.train.objective import episodic
from jaxmeta.train.trainer import Trainer, TrainState

_KEPT = "kept_tasks"


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether no floating-point leaf holds an infinity or a NaN.

    Args:
      tree: any pytree of arrays.

    Returns:
      A boolean scalar.

    >>> bool(all_finite({"w": jnp.ones(2), "n": jnp.array(3)}))
    True
    >>> bool(all_finite({"w": jnp.array([1.0, jnp.nan])}))
    False
    """
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    good = jnp.array(True)
    for x in floats:
        good &= jnp.all(jnp.isfinite(x))
    return good


def hold_nonfinite(trainer: Trainer, *, advance: bool = False) -> Trainer:
    """A trainer that takes no step into numbers that are not finite.

    Where the loss, its gradient or the state after the update is not finite, parameters,
    buffers and optimiser stay as they were. The step count stays too, so that the rest
    of a `fit` repeats the bad step and its caller finds the state from before it;
    `advance` lets the count go on, to other tasks.

    Args:
      trainer: from `make_trainer`.
      advance: whether to count the step all the same.

    Returns:
      A `Trainer` that reports "held" besides: 1 where it stood still.

    >>> import optax, jaxmeta as jm
    >>> objective = jm.from_loss(
    ...     lambda key, x: Meta(jnp.zeros(())),
    ...     lambda meta, x, key: (jnp.log(x) * meta.params, Aux({})),
    ... )
    >>> trainer = hold_nonfinite(jm.make_trainer(objective, optax.sgd(1.0)))
    >>> state = trainer.init(jax.random.key(0), 1.0)
    >>> state, metrics = trainer.step(state, jnp.array(0.0), jax.random.key(1))
    >>> float(state.meta.params), float(metrics["held"])
    (0.0, 1.0)
    """

    def step(state: TrainState, batch: PyTree, key: Key):
        new, metrics = trainer.step(state, batch, key)
        good = all_finite((metrics["loss"], metrics["grad_norm"], new))
        kept = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, state)
        if advance:
            kept = kept._replace(step=new.step)
        return kept, {**metrics, "held": 1.0 - good}

    return trainer._replace(step=step)


def skip_nonfinite(
    learner: MetaLearner,
    *,
    chunk: int | None = None,
    mesh: Mesh | None = None,
    exact: bool = False,
    together: bool = False,
    platform: str | None = None,
) -> Objective:
    """The mean meta-gradient over those tasks whose own is finite.

        g = sum_b ok_b g_b / sum_b ok_b,
        ok_b = whether loss_b, its new buffers and every element of g_b are finite

    Masking the loss would not do: the gradient of a masked NaN is a NaN. Where no task
    is finite, neither is the result (see `hold_nonfinite`).

    Args:
      learner: the method.
      chunk: as of `episodic`; so are the other options.

    Returns:
      An `Objective` that reports "skipped_tasks" besides.

    Raises:
      ValueError: as `episodic`.

    >>> import jaxmeta as jm
    >>> objective = skip_nonfinite(jm.protonet(jm.models.mlp(None)))
    """
    objective = episodic(
        learner._replace(loss=_masked(learner)),
        chunk=chunk,
        mesh=mesh,
        exact=exact,
        together=together,
        platform=platform,
    )

    def value_and_grad(meta: Meta, episodes: Episode, key: Key):
        (loss, aux), grads = objective.value_and_grad(meta, episodes, key)
        kept = aux.metrics[_KEPT]
        loss, aux, grads = jax.tree.map(lambda x: x / kept, (loss, aux, grads))
        count = jax.tree.leaves(episodes)[0].shape[0]
        metrics = {k: v for k, v in aux.metrics.items() if k != _KEPT}
        metrics["skipped_tasks"] = jnp.round(count * (1 - kept))
        return (loss, aux._replace(metrics=metrics)), grads

    return objective._replace(value_and_grad=value_and_grad)


def _masked(learner: MetaLearner):
    """The loss, value and gradient zero where anything of this task is not finite."""

    def loss(meta: Meta, episode: Episode, key: Key):
        held = lax.stop_gradient(meta)

        def of(params):
            return learner.loss(held._replace(params=params), episode, key)

        (value, aux), grads = jax.value_and_grad(of, has_aux=True)(held.params)
        good = all_finite((value, aux.buffers, grads))
        value, aux, grads = jax.tree.map(
            lambda x: jnp.where(good, x, jnp.zeros_like(x)), (value, aux, grads)
        )
        # a straight line of the masked slope through the masked value
        rises = jax.tree.map(
            lambda g, new, old: jnp.sum(g * (new - old)),
            grads,
            meta.params,
            held.params,
        )
        kept = jnp.asarray(good, value.dtype)
        aux = Aux({**aux.metrics, _KEPT: kept}, aux.buffers)
        return sum(jax.tree.leaves(rises), value), aux

    return loss
