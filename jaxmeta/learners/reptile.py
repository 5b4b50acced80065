"""Reptile: move towards the adapted weights.

Nichol, Achiam, Schulman 2018, On First-Order Meta-Learning Algorithms,
https://arxiv.org/abs/1803.02999.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta import losses, metrics
from jaxmeta.core import Aux, Meta, MetaLearner, Model, Rule
from jaxmeta.functional.unroll import unroll
from jaxmeta.rules import as_rule


def reptile(
    model: Model,
    inner: optax.GradientTransformation,
    *,
    steps: int,
    inner_batch: int | None = None,
    task_loss: Callable = losses.cross_entropy,
) -> MetaLearner:
    """Reptile: the direction from the start to the end of ordinary training.

        theta <- theta + eps (mean_tasks phi_K - theta)

    As a loss, 1/2 ||theta - sg(phi_K)||^2, whose gradient theta - phi_K makes an outer
    SGD of rate eps exactly this update. Only the support set is trained on: give it the
    paper's larger number of training shots (10 where the test has 1). With `steps=1`
    and plain SGD it is SGD on the joint loss.

    Args:
      model: the network.
      inner: the inner optimiser; the paper's is Adam with beta1 = 0, `optax.adam(1e-3,
        b1=0.0)`. Its state starts anew for every task.
      steps: K >= 1 inner steps.
      inner_batch: examples a step, drawn anew each step without replacement, as in the
        paper; `None` takes all of them at every step.
      task_loss: `(outputs, targets) -> scalar`.

    Returns:
      A `MetaLearner` whose `fast` are the adapted parameters.

    Raises:
      ValueError: if `steps < 1`, or `inner_batch` is below 1 or above what there is.
      TypeError: if `inner` is a learned `Rule`: Reptile has no gradient to teach it.

    >>> import jaxmeta as jm
    >>> learner = jm.reptile(jm.models.mlp(5), optax.adam(1e-3, b1=0.0), steps=5)
    """
    if steps < 1:
        raise ValueError(f"steps: got {steps}, wants an integer >= 1")
    if isinstance(inner, Rule):
        raise TypeError(
            "inner: got a learned Rule, wants an optax.GradientTransformation"
        )
    if inner_batch is not None and inner_batch < 1:
        raise ValueError(f"inner_batch: got {inner_batch}, wants an integer >= 1")
    tx = as_rule(inner).make(())

    def run(meta: Meta, batch, train, key):
        n = batch.targets.shape[0]
        if inner_batch is not None and inner_batch > n:
            raise ValueError(
                f"inner_batch: got {inner_batch}, wants at most the {n} examples there are"
            )

        def loss(params, batch, step):
            if inner_batch is not None:
                # inner minibatches must differ, or K steps are one long step
                rows = jax.random.permutation(jax.random.fold_in(key, step), n)
                batch = jax.tree.map(lambda x: x[rows[:inner_batch]], batch)
            outputs, _ = model.apply(
                Meta(params, meta.buffers), batch.inputs, train=train, key=key
            )
            return task_loss(outputs, batch.targets)

        return unroll(loss, meta.params, tx, batch, steps=steps, order="first").params

    def init(key, episode):
        return model.init(key, episode.support.inputs)

    def adapt(meta, support, key):
        return run(meta, support, False, key)

    def predict(meta, fast, inputs):
        return model.apply(Meta(fast, meta.buffers), inputs)[0]

    def loss(meta, episode, key):
        phi = lax.stop_gradient(run(meta, episode.support, True, key))
        value = 0.5 * sum(
            jnp.sum(jnp.square(a - b))
            for a, b in zip(
                jax.tree.leaves(meta.params), jax.tree.leaves(phi), strict=True
            )
        )
        outputs, buffers = model.apply(
            Meta(phi, meta.buffers), episode.query.inputs, train=True, key=key
        )
        return value, Aux(metrics.summary(outputs, episode.query.targets), buffers)

    return MetaLearner(init, adapt, predict, loss)
