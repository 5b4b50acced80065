"""SimpleShot: the nearest class mean, of features that were centred and normalised.

Wang, Chao, Weinberger, van der Maaten 2019, SimpleShot: Revisiting Nearest-Neighbor
Classification for Few-Shot Learning, https://arxiv.org/abs/1911.04623.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxmeta import criteria
from jaxmeta.checks import positive
from jaxmeta.core import Array, Criterion, Features, Meta, MetaLearner
from jaxmeta.functional.distances import squared_euclidean
from jaxmeta.functional.embedding import Normalise, check_normalise
from jaxmeta.functional.embedding import normalise as transform
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.functional.rows import weights_of
from jaxmeta.learners.embedding import embed, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model


def simple_shot(
    model: Features,
    *,
    normalise: Normalise = "cl2n",
    temperature: float = 1.0,
    momentum: float = 0.99,
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """SimpleShot: nearest class mean after centring and length normalisation.

        z = (f(x) - m) / ||f(x) - m||,   m the mean feature of the base classes
        outputs = -||z - c_k||^2 / T,   c_k = mean_{i in S_k} z_i         (eqs. 1-3)

    m is kept in the buffers, a running average of the training features with the start
    at zero divided out. The paper trains f by ordinary classification of all base
    classes; episodes do not know those, so `loss` is the criterion's of the outputs.
    For the published training, pretrain with `jaxmeta.from_loss`, take the mean over
    the base features and build `Meta(params, {"model": buffers, "sum": mean, "weight":
    1.0})`. With "un" it is a prototypical network.

    Args:
      model: the encoder f, `[n, ...] -> [n, d]`.
      normalise: "un", "l2" or "cl2n", see `jaxmeta.functional.embedding`.
      temperature: T > 0; changes training, not the predicted class.
      momentum: in [0, 1), of the running mean, per outer step.
      criterion: what the queries are judged by, in training and in tests.

    Returns:
      A `MetaLearner` with buffers `{"model", "sum", "weight"}` (m = sum / weight), whose
      `fast` are the class means `[c, d]`.

    Raises:
      ValueError: for an unknown `normalise` or numbers out of range.

    >>> import jaxmeta as jm
    >>> learner = jm.simple_shot(jm.models.conv4(None))
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    check_normalise(normalise)
    positive(temperature=temperature)
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum: got {momentum}, wants a number in [0, 1)")

    def inner(meta: Meta) -> Meta:
        return meta._replace(buffers=meta.buffers["model"])

    def prepare(buffers, features):
        weight = buffers["weight"]
        mean = buffers["sum"] / jnp.where(weight > 0, weight, 1.0)
        return transform(features, normalise, mean=mean)

    def outputs_of(means, z):
        return -squared_euclidean(z, means) / temperature

    def init(key, episode):
        base = model.init(key, episode.support.inputs)
        features = jax.eval_shape(model.apply, base, episode.support.inputs)[0]
        zeros = jnp.zeros(features.shape[1:], features.dtype)
        weight = jnp.zeros((), features.dtype)
        return Meta(
            base.params, {"model": base.buffers, "sum": zeros, "weight": weight}
        )

    def adapt(meta, support, key):
        features, _ = call(model, inner(meta), support.inputs, weights=support.weights)
        z = prepare(meta.buffers, features)
        return prototypes(z, support.targets, support.weights)

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, inner(meta), inputs, weights=weights)
        return outputs_of(fast, prepare(meta.buffers, features))

    def loss(meta, episode, key):
        found = embed(model, inner(meta), episode, key)
        z = prepare(meta.buffers, found.support)
        means = prototypes(z, episode.support.targets, episode.support.weights)
        outputs = outputs_of(means, prepare(meta.buffers, found.query))
        new = _averaged(meta.buffers, found, episode, momentum)
        return scored(criterion, outputs, episode, new)

    return learner_of(init, adapt, predict, loss, criterion)


def _averaged(old, found, episode, momentum) -> dict[str, Array]:
    """The buffers after one more episode; each example counts by its weight."""
    features = jnp.concatenate([found.support, found.query])
    weights = jnp.concatenate([weights_of(batch) for batch in episode])
    count = jnp.sum(weights)
    mean = lax.stop_gradient(weights @ features / jnp.where(count > 0, count, 1.0))
    gain = (1 - momentum) * (count > 0)
    return {
        "model": found.buffers,
        "sum": (1 - gain) * old["sum"] + gain * mean,
        "weight": (1 - gain) * old["weight"] + gain,
    }
