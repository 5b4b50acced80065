"""Prototypical networks: a class is the mean of its examples in feature space.

Snell, Swersky, Zemel 2017, Prototypical Networks for Few-shot Learning,
https://arxiv.org/abs/1703.05175.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxmeta import losses, metrics
from jaxmeta.core import Array, Aux, MetaLearner, Model
from jaxmeta.functional.distances import squared_euclidean
from jaxmeta.functional.prototypes import prototypes


def protonet(
    model: Model, *, distance: Callable[[Array, Array], Array] = squared_euclidean
) -> MetaLearner:
    """Prototypical networks: softmax over distances to the class means.

        c_k = mean_{i in S_k} f(x_i)                              (eq. 1)
        p(y = k | x) = softmax_k(-||f(x) - c_k||^2)               (eq. 2)

    In training, support and query pass the encoder as one batch, so that batch
    statistics are shared; at inference each set passes alone.

    Args:
      model: the encoder, `[n, ...] -> [n, d]`.
      distance: `([n, d], [c, d]) -> [n, c]`; squared Euclidean as published, which
        makes the classifier linear in f(x): W_k = 2 c_k, b_k = -||c_k||^2.

    Returns:
      A `MetaLearner` whose `fast` are the prototypes `[c, d]`.

    >>> import jaxmeta as jm
    >>> learner = jm.protonet(jm.models.conv4(None))
    """

    def init(key, episode):
        return model.init(key, episode.support.inputs)

    def adapt(meta, support, key):
        features, _ = model.apply(meta, support.inputs)
        return prototypes(features, support.targets)

    def predict(meta, fast, inputs):
        features, _ = model.apply(meta, inputs)
        return -distance(features, fast)

    def loss(meta, episode, key):
        support, query = episode
        both = jax.tree.map(lambda s, q: jnp.concatenate([s, q]), *map(_inputs, episode))
        features, buffers = model.apply(meta, both, train=True, key=key)
        n = support.targets.shape[0]
        outputs = -distance(features[n:], prototypes(features[:n], support.targets))
        value = losses.cross_entropy(outputs, query.targets)
        return value, Aux(metrics.summary(outputs, query.targets), buffers)

    return MetaLearner(init, adapt, predict, loss)


def _inputs(batch):
    return batch.inputs
