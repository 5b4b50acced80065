"""Prototypical networks: a class is the mean of its examples in feature space.

Snell, Swersky, Zemel 2017, Prototypical Networks for Few-shot Learning,
https://arxiv.org/abs/1703.05175.
"""

from collections.abc import Callable
from typing import Literal

from jaxmeta import criteria
from jaxmeta.checks import one_of, positive
from jaxmeta.core import Array, Criterion, Features, MetaLearner
from jaxmeta.functional.distances import squared_euclidean
from jaxmeta.functional.embedding import normalise as transform
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.learners.embedding import embed, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model


def protonet(
    model: Features,
    *,
    distance: Callable[[Array, Array], Array] = squared_euclidean,
    temperature: float = 1.0,
    normalise: Literal["un", "l2"] = "un",
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """Prototypical networks: softmax over distances to the class means.

        c_k = mean_{i in S_k} f(x_i)                              (eq. 1)
        p(y = k | x) = softmax_k(-||f(x) - c_k||^2 / T)           (eq. 2, where T = 1)

    In training, support and query pass the encoder as one batch, so that batch
    statistics are shared; at inference each set passes alone.

    Args:
      model: the encoder, `[n, ...] -> [n, d]`.
      distance: `([n, d], [c, d]) -> [n, c]`; squared Euclidean as published, which
        makes the classifier linear in f(x): W_k = 2 c_k, b_k = -||c_k||^2.
      temperature: T > 0; 1 as published. Bounded distances (cosine) want 0.1 or so.
      normalise: "un", or "l2" for features of length 1.
      criterion: what the queries are judged by, in training and in tests.

    Returns:
      A `MetaLearner` whose `fast` are the prototypes `[c, d]`.

    Raises:
      ValueError: for a temperature that is not positive, or an unknown `normalise`.

    >>> import jaxmeta as jm
    >>> learner = jm.protonet(jm.models.conv4(None))
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    positive(temperature=temperature)
    one_of(("un", "l2"), normalise=normalise)

    def classify(fast, features):
        return -distance(transform(features, normalise), fast) / temperature

    def represent(features, support):
        return prototypes(
            transform(features, normalise), support.targets, support.weights
        )

    def init(key, episode):
        return model.init(key, episode.support.inputs)

    def adapt(meta, support, key):
        features, _ = call(model, meta, support.inputs, weights=support.weights)
        return represent(features, support)

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, meta, inputs, weights=weights)
        return classify(fast, features)

    def loss(meta, episode, key):
        found = embed(model, meta, episode, key)
        fast = represent(found.support, episode.support)
        return scored(criterion, classify(fast, found.query), episode, found.buffers)

    return learner_of(init, adapt, predict, loss, criterion)
