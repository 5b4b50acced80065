"""Logistic regression on the features: the linear probe, as a learner.

Its gradient is that of the minimum: Gould et al. 2016, On Differentiating Parameterized
Argmin and Argmax Problems, https://arxiv.org/abs/1607.05447. The few Newton steps of
Bertinetto et al. 2019 are `lrd2`.
"""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from jaxmeta import criteria
from jaxmeta.checks import at_least, positive
from jaxmeta.core import Array, Batch, Criterion, Features, MetaLearner
from jaxmeta.functional.logistic import Linear, bounded_logistic
from jaxmeta.gradients import argmin, cg, implicit
from jaxmeta.learners.embedding import embed, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.losses import cross_entropy
from jaxmeta.models.call import call, check_model


def logistic_regression(
    model: Features,
    *,
    l2: float = 1e-3,
    steps: int = 500,
    tolerance: float = 1e-5,
    solve: int = 20,
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """Multinomial logistic regression on the features, fitted to its minimum.

        W, b = argmin  mean_i ce(f(x_i) W + b, t_i) + l2/2 ||W||^2
        outputs = f(x) W + b

    The linear classifier that features are usually judged by; scikit-learn's `C` is
    1 / (l2 n). In training the gradient is implicit, that of the minimum and not of the
    steps to it, with `solve` steps of conjugate gradients.

    Args:
      model: the encoder, `[n, ...] -> [n, d]`.
      l2: strength of the penalty, > 0; features of length 1 want 1e-3 or so.
      steps: steps of `bounded_logistic` at most.
      tolerance: stop where the gradient's norm is below it.
      solve: steps of conjugate gradients behind a training gradient, >= 1.
      criterion: what the queries are judged by, in training and in tests.

    Returns:
      A `MetaLearner` whose `fast` is a `Linear`: kernel `[d, c]`, bias `[c]`.

    Raises:
      ValueError: if a hyper-parameter is out of range.

    >>> import jaxmeta as jm
    >>> learner = jm.logistic_regression(jm.models.flat())
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    positive(l2=l2, tolerance=tolerance)
    at_least(1, steps=steps, solve=solve)
    gradient = implicit(solver=cg(steps=solve))

    def fit(features, support: Batch) -> Linear:
        given = (features, support.targets, support.weights)
        return bounded_logistic(*given, l2=l2, steps=steps, tolerance=tolerance)

    def risk(linear: Linear, given: tuple[Array, Batch]):
        features, support = given
        loss = cross_entropy(linear(features), support.targets, support.weights)
        # the bias has no penalty: a shift common to all classes is held, or H is singular
        free = jnp.square(jnp.sum(linear.bias))
        return loss + l2 / 2 * (jnp.sum(jnp.square(linear.kernel)) + free)

    def init(key, episode):
        return model.init(key, episode.support.inputs)

    def adapt(meta, support, key):
        features, _ = call(model, meta, support.inputs, weights=support.weights)
        return fit(features, support)

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, meta, inputs, weights=weights)
        return fast(features)

    def loss(meta, episode, key):
        found = embed(model, meta, episode, key)
        start = fit(found.support, episode.support)
        fast = argmin(
            risk, start, (found.support, episode.support), optax.sgd(1.0), steps=0,
            gradient=gradient,
        ).params  # fmt: skip
        return scored(criterion, fast(found.query), episode, found.buffers)

    return learner_of(init, adapt, predict, loss, criterion)
