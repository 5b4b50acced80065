"""Fine-tuning at test time: a learner that first learns from views of its support.

Hu, Li, Stuehmer, Kim, Hospedales 2022, Pushing the Limits of Simple Pipelines for Few-Shot
Learning: External Data and Fine-Tuning Make a Difference, https://arxiv.org/abs/2204.07305.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxmeta.checks import at_least
from jaxmeta.core import Batch, Episode, Meta, MetaLearner
from jaxmeta.functional import augment as views
from jaxmeta.functional.augment import Augment

VIEWS = views.chain(views.flip, views.crop, views.colour_jitter)
"""Mirrored, moved by up to 4 pixels, in other colours."""


def tuned_at_test(
    learner: MetaLearner,
    tx: optax.GradientTransformation,
    *,
    steps: int = 50,
    augment: Augment = VIEWS,
) -> MetaLearner:
    """The last step of P>M>F: a trained learner is fine-tuned on each task of the test.

        theta_0 = theta,  theta_{k+1} = theta_k + tx(grad L(theta_k; S, a_k(S)))

    The support set is the support of a task whose queries are other views of itself, and
    L is what the learner was trained with. All of `Meta.params` moves, buffers stay;
    then the learner adapts, from theta_K, to the support as it is. Training is what it
    was, and with a `model` of `models.lora` only its few parameters are each task's own.

    Args:
      learner: any, of images: `protonet(models.pretrained(net, meta))` in the paper.
      tx: the optimiser; its rate is the one thing to choose (of 0, 0.01, 0.001, 0.0001 on
        a few tasks of validation, in the paper with Adam).
      steps: K >= 0.
      augment: `(key, image) -> image`, of an image in [0, 1].

    Returns:
      A `MetaLearner` with the same `Meta`, whose `fast` holds theta_K.

    Raises:
      ValueError: if `steps < 0`.

    References:
      Hu et al. 2022, arXiv:2204.07305, section 3.3.

    >>> import jaxmeta as jm
    >>> learner = jm.protonet(jm.models.conv4(None))
    >>> tester = tuned_at_test(learner, optax.adam(1e-4), steps=50)
    """
    at_least(0, steps=steps)
    tx = optax.with_extra_args_support(tx)

    def seen(batch: Batch, key) -> Batch:
        each = jax.random.split(key, len(batch.targets))
        return batch._replace(inputs=jax.vmap(augment)(each, batch.inputs))

    def adapt(meta, support, key):
        def step(carry, k):
            params, state = carry
            drawing, noise = jax.random.split(jax.random.fold_in(key, k))
            task = Episode(support, seen(support, drawing))

            def loss(params):
                return learner.loss(meta._replace(params=params), task, noise)[0]

            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params, value=value, grad=grads)
            return (optax.apply_updates(params, updates), state), None

        start = (meta.params, tx.init(meta.params))
        params = lax.scan(step, start, jnp.arange(steps))[0][0]
        last = jax.random.fold_in(key, steps)
        fast = learner.adapt(meta._replace(params=params), support, last)
        return {"params": params, "fast": fast}

    def predict(meta, fast, inputs, weights=None):
        own = Meta(fast["params"], meta.buffers)
        return learner.predict(own, fast["fast"], inputs, weights=weights)

    return learner._replace(adapt=adapt, predict=predict)
