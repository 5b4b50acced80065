"""Baseline++: a cosine classifier, fine-tuned on frozen features.

Chen, Liu, Kira, Wang, Huang 2019, A Closer Look at Few-shot Classification,
https://arxiv.org/abs/1904.04232.
"""

from collections.abc import Callable
from typing import Literal

import jax
import optax
from jax import lax

from jaxmeta import criteria
from jaxmeta.checks import at_least, one_of, positive
from jaxmeta.core import Criterion, Features, MetaLearner
from jaxmeta.functional.distances import cosine_similarity, unit
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.functional.rows import check_minibatch, minibatch
from jaxmeta.gradients import argmin, first_order
from jaxmeta.learners.embedding import embed, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model


def baseline_plus_plus(
    model: Features,
    *,
    inner: optax.GradientTransformation | None = None,
    steps: int = 100,
    scale: float = 10.0,
    start: Literal["means", "random"] = "means",
    criterion: Criterion | Callable = criteria.classification,
    inner_criterion: Criterion | Callable | None = None,
    inner_batch: int | None = None,
) -> MetaLearner:
    """Baseline++: fit a cosine classifier to frozen features, and change nothing else.

        W_0 -> W_steps by gradient steps on CE(s cos(f(x_i), w_c)), i in S
        outputs = s cos(f(x), w_c)

    The paper trains f by ordinary classification of all base classes, with the same kind
    of head. An episode does not know those classes, so `loss` is the episodic form of
    it: the queries are classified by a head fitted to the support set, and the fitting
    steps are constants (first order): the gradient reaches f through the queries, and
    through W_0 where that is made of the support. For the published training, pretrain
    with `jaxmeta.from_loss` and hand its `Meta` to `adapt` and `predict`: `Meta` is that
    of the encoder.

    Args:
      model: the encoder f, `[n, ...] -> [n, d]`.
      inner: optimiser of the head; `optax.sgd(0.1, momentum=0.9)` by default.
      steps: fine-tuning steps, >= 0; the paper takes 100 epochs of batches of 4.
      scale: s > 0, the inverse temperature.
      start: W_0, of unit length, on which a cosine's rate depends: "means", towards the
        class means of the features (Qi et al. 2018, arXiv:1712.07136), or "random", as
        published; the key of `adapt` draws it.
      criterion: what the queries are judged by, in training and in tests.
      inner_criterion: whose loss the fitting descends, `criterion` by default.
      inner_batch: support examples a step, drawn anew each step without replacement;
        `None` takes all of them.

    Returns:
      A `MetaLearner` whose `fast` is W `[c, d]`.

    Raises:
      ValueError: if a hyper-parameter is out of range.

    >>> import jaxmeta as jm
    >>> learner = jm.baseline_plus_plus(jm.models.conv4(None), steps=10)
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    fitted = criterion
    if inner_criterion is not None:
        fitted = criteria.as_criterion(inner_criterion)
    check_minibatch(inner_batch)
    positive(scale=scale)
    at_least(0, steps=steps)
    one_of(("means", "random"), start=start)
    tx = optax.sgd(0.1, momentum=0.9) if inner is None else inner

    def classify(weights, features):
        return scale * cosine_similarity(features, weights)

    def fit(features, support, key):
        if start == "means":
            first = prototypes(features, support.targets, support.weights)
        else:
            shape = (support.targets.shape[1], features.shape[1])
            first = jax.random.normal(key, shape, features.dtype)
        seen = support._replace(inputs=lax.stop_gradient(features))

        def inner_loss(weights, seen, step):
            batch = seen
            if inner_batch is not None:
                batch = minibatch(batch, inner_batch, jax.random.fold_in(key, step))
            outputs = fitted.prepare(classify(weights, batch.inputs), support)
            return fitted.loss(outputs, batch.targets, batch.weights)

        return argmin(
            inner_loss,
            unit(first),
            seen,
            tx,
            steps=steps,
            gradient=first_order,
            batches=lambda step: step,
        ).params

    def init(key, episode):
        return model.init(key, episode.support.inputs)

    def adapt(meta, support, key):
        features, _ = call(model, meta, support.inputs, weights=support.weights)
        return fit(features, support, key)

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, meta, inputs, weights=weights)
        return classify(fast, features)

    def loss(meta, episode, key):
        encoder_key, head_key = jax.random.split(key)
        found = embed(model, meta, episode, encoder_key)
        weights = fit(found.support, episode.support, head_key)
        return scored(criterion, classify(weights, found.query), episode, found.buffers)

    return learner_of(init, adapt, predict, loss, criterion)
