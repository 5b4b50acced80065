"""MAML: an initialisation from which a few gradient steps go far.

Finn, Abbeel, Levine 2017, Model-Agnostic Meta-Learning for Fast Adaptation of Deep
Networks, https://arxiv.org/abs/1703.03400. ANIL: Raghu et al. 2020,
https://arxiv.org/abs/1909.09157.
"""

from collections.abc import Callable
from typing import Literal

import optax

from jaxmeta import losses, metrics, tree
from jaxmeta.core import Aux, Batch, Meta, MetaLearner, Model, Rule
from jaxmeta.functional.unroll import unroll
from jaxmeta.learners.common import learned

TaskLoss = Callable


def maml(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    steps: int = 5,
    order: Literal["second", "first"] = "second",
    adapt_only: Callable[[str], bool] | None = None,
    memory: Literal["store", "remat", "mixed"] = "store",
    task_loss: TaskLoss = losses.cross_entropy,
) -> MetaLearner:
    """Model-agnostic meta-learning: descend the loss that is left after adapting.

        phi_0 = theta,  phi_{k+1} = phi_k - alpha grad L(phi_k; S)      (eq. 1)
        min_theta  E_task L(phi_K(theta); Q)                            (eq. 2)

    The gradient flows through all K inner steps (`order="second"`) or treats the inner
    gradients as constants (`order="first"`, FOMAML). `Meta.params` are the model's, or,
    where `inner` is a learned `Rule`, `{"model": ..., "rule": ...}`.

    Args:
      model: the network.
      inner: the inner optimiser.
      steps: K >= 0; 0 is joint training on the query sets.
      order: "second" or "first".
      adapt_only: selects, by path ("head/kernel"), what the inner loop moves; all of it
        by default. The rest is still meta-learned.
      memory: see `jaxmeta.functional.unroll`.
      task_loss: `(outputs, targets) -> scalar`, inner and outer.

    Returns:
      A `MetaLearner` whose `fast` are the adapted parameters (the selected ones only).

    Raises:
      ValueError: for bad hyper-parameters, or if `adapt_only` selects nothing.

    >>> import jax, jax.numpy as jnp, jaxmeta as jm
    >>> learner = jm.maml(jm.models.mlp(1), optax.sgd(0.01), task_loss=jm.losses.mse)
    >>> episode = jm.tasks.sinusoid()(jax.random.key(0))
    >>> meta = learner.init(jax.random.key(1), episode)
    >>> learner.loss(meta, episode, jax.random.key(2))[0].shape
    ()
    """
    if steps < 0:
        raise ValueError(f"steps: got {steps}, wants an integer >= 0")
    slow = learned(inner)

    def split(params):
        chosen, rest = tree.partition(params, adapt_only or (lambda path: True))
        if not tree.leaves(chosen):
            raise ValueError(
                "adapt_only: selects none of the parameters "
                f"{sorted(tree.leaves(tree.paths(params)))}"
            )
        return chosen, rest

    def run(meta: Meta, batch: Batch, train: bool, key):
        params, tx = slow.open(meta.params)
        phi, rest = split(params)

        def loss(phi, batch, step):
            full = Meta(tree.combine(phi, rest), meta.buffers)
            outputs, _ = model.apply(full, batch.inputs, train=train, key=key)
            return task_loss(outputs, batch.targets)

        return unroll(loss, phi, tx, batch, steps=steps, order=order, memory=memory)

    def merged(meta: Meta, phi) -> Meta:
        params, _ = slow.open(meta.params)
        return Meta(tree.combine(phi, split(params)[1]), meta.buffers)

    def init(key, episode):
        return slow.init(model.init(key, episode.support.inputs))

    def adapt(meta, support, key):
        return run(meta, support, False, key).params

    def predict(meta, fast, inputs):
        return model.apply(merged(meta, fast), inputs)[0]

    def loss(meta, episode, key):
        phi = run(meta, episode.support, True, key).params
        inputs, targets = episode.query
        outputs, buffers = model.apply(merged(meta, phi), inputs, train=True, key=key)
        return task_loss(outputs, targets), Aux(
            metrics.summary(outputs, targets), buffers
        )

    return MetaLearner(init, adapt, predict, loss)


def anil(
    model: Model,
    inner: optax.GradientTransformation | Rule,
    *,
    head: Callable[[str], bool] = lambda path: path.startswith("head"),
    **maml_options,
) -> MetaLearner:
    """Almost no inner loop: MAML that adapts the head alone.

        theta = (body, head);  phi_{k+1} = phi_k - alpha grad_head L(body, phi_k; S)

    Args:
      model: the network.
      inner: the inner optimiser.
      head: selects the head by path; all of the parameters make it MAML.
      **maml_options: as for `maml`, but `adapt_only`.

    Returns:
      A `MetaLearner` whose `fast` is the adapted head.

    Raises:
      ValueError: as `maml`, and if `head` selects nothing.

    References:
      Raghu et al. 2020, Rapid Learning or Feature Reuse?, arXiv:1909.09157.

    >>> import jaxmeta as jm
    >>> learner = jm.anil(jm.models.mlp(5), optax.sgd(0.1), steps=3)
    """
    return maml(model, inner, adapt_only=head, **maml_options)
