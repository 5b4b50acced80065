"""Baseline++: a cosine classifier, fine-tuned on frozen features.

Chen, Liu, Kira, Wang, Huang 2019, A Closer Look at Few-shot Classification,
https://arxiv.org/abs/1904.04232.
"""

from typing import Literal

import jax
import optax
from jax import lax

from jaxmeta import losses
from jaxmeta.core import Batch, MetaLearner, Model
from jaxmeta.functional.distances import cosine_similarity, unit
from jaxmeta.functional.prototypes import prototypes
from jaxmeta.functional.unroll import unroll
from jaxmeta.learners.embedding import embed, positive, scored


def baseline_plus_plus(
    model: Model,
    *,
    inner: optax.GradientTransformation | None = None,
    steps: int = 100,
    scale: float = 10.0,
    start: Literal["means", "random"] = "means",
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
      steps: fine-tuning steps on the whole support set, >= 0; the paper takes 100
        epochs of batches of 4.
      scale: s > 0, the inverse temperature.
      start: W_0, of unit length, on which a cosine's rate depends: "means", towards the
        class means of the features (Qi et al. 2018, arXiv:1712.07136), or "random", as
        published; the key of `adapt` draws it.

    Returns:
      A `MetaLearner` whose `fast` is W `[c, d]`.

    Raises:
      ValueError: if a hyper-parameter is out of range.

    >>> import jaxmeta as jm
    >>> learner = jm.baseline_plus_plus(jm.models.conv4(None), steps=10)
    """
    positive(scale=scale)
    if steps < 0:
        raise ValueError(f"steps: got {steps}, wants an integer >= 0")
    if start not in ("means", "random"):
        raise ValueError(f'start: got {start!r}, wants "means" or "random"')
    tx = optax.sgd(0.1, momentum=0.9) if inner is None else inner

    def classify(weights, features):
        return scale * cosine_similarity(features, weights)

    def fit(features, targets, key):
        if start == "means":
            weights = prototypes(features, targets)
        else:
            shape = (targets.shape[1], features.shape[1])
            weights = jax.random.normal(key, shape, features.dtype)
        batch = Batch(lax.stop_gradient(features), targets)

        def inner_loss(weights, batch, step):
            outputs = classify(weights, batch.inputs)
            return losses.present_cross_entropy(outputs, batch.targets)

        return unroll(
            inner_loss, unit(weights), tx, batch, steps=steps, order="first"
        ).params

    def init(key, episode):
        return model.init(key, episode.support.inputs)

    def adapt(meta, support, key):
        features, _ = model.apply(meta, support.inputs)
        return fit(features, support.targets, key)

    def predict(meta, fast, inputs):
        features, _ = model.apply(meta, inputs)
        return classify(fast, features)

    def loss(meta, episode, key):
        encoder_key, head_key = jax.random.split(key)
        found = embed(model, meta, episode, encoder_key)
        weights = fit(found.support, episode.support.targets, head_key)
        outputs = classify(weights, found.query)
        outputs = losses.over_present(outputs, episode.support.targets)
        targets = episode.query.targets
        return scored(losses.cross_entropy, outputs, targets, found.buffers)

    return MetaLearner(init, adapt, predict, loss)
