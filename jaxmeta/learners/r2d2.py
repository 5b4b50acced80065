"""R2-D2 and LR-D2: the task's classifier in closed form, or nearly.

Bertinetto, Henriques, Torr, Vedaldi 2019, Meta-learning with Differentiable Closed-form
Solvers, https://arxiv.org/abs/1805.08136.
"""

from collections.abc import Callable

import jax.numpy as jnp

from jaxmeta import criteria, tree
from jaxmeta.checks import at_least, positive
from jaxmeta.core import Array, Batch, Criterion, Features, MetaLearner, Model
from jaxmeta.functional.ridge import Form, logistic, ridge
from jaxmeta.learners.embedding import embed, encoder, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model


def r2d2(
    model: Features,
    *,
    lam: float = 1.0,
    scale: float = 10.0,
    bias: float = 0.0,
    intercept: bool = True,
    form: Form = "auto",
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """Ridge regression on the features, onto the targets, differentiated exactly.

        W = argmin ||f(X) W - Y||^2 + lam ||W||^2                         (eq. 4)
          = f(X)^T (f(X) f(X)^T + lam I)^-1 Y                             (eq. 6)
        outputs = alpha f(x) W + beta                                     (eq. 7)

    lam and alpha (as their logarithms, so that they stay positive) and beta are learned.
    A beta common to all classes is invisible to the softmax of this loss.

    Args:
      model: the encoder, `[n, ...] -> [n, d]`.
      lam: where lam starts, > 0.
      scale: where alpha starts, > 0; ridge outputs lie about [0, 1], flat as logits.
      bias: where beta starts.
      intercept: appends a 1 to every feature vector, as the released code does.
      form: "auto" solves the smaller of the n x n (Woodbury) and the d x d system.
      criterion: what the queries are judged by, in training and in tests. Real values
        (`criteria.regression`) want `scale=1`.

    Returns:
      A `MetaLearner` with params `{"model", "head"}`, whose `fast` is W `[d, c]` (one
      row more with an intercept).

    Raises:
      ValueError: if `lam` or `scale` is not positive.

    >>> import jaxmeta as jm
    >>> learner = jm.r2d2(jm.models.conv4(None))
    """

    def solver(x, targets, lam, weights):
        return ridge(x, targets, lam, weights, form=form)

    return _closed_form(model, solver, lam, scale, bias, intercept, criterion)


def lrd2(
    model: Features,
    *,
    lam: float = 1.0,
    scale: float = 1.0,
    bias: float = 0.0,
    intercept: bool = True,
    steps: int = 5,
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """The logistic sibling of R2-D2: a few Newton steps, each one differentiated.

        w_c = argmin sum_i log(1 + e^{-y_i w.f(x_i)}) + lam/2 ||w||^2     (eq. 8)
        outputs = alpha f(x) W + beta

    The paper's is for two classes; here every class is told from all others.

    Args:
      model: the encoder, `[n, ...] -> [n, d]`.
      lam: where lam starts, > 0.
      scale: where alpha starts, > 0.
      bias: where beta starts.
      intercept: appends a 1 to every feature vector.
      steps: Newton steps; 5 converge on well-scaled features.
      criterion: what the queries are judged by, in training and in tests.

    Returns:
      A `MetaLearner` as that of `r2d2`.

    Raises:
      ValueError: if `lam` or `scale` is not positive, or `steps < 1`.

    >>> import jaxmeta as jm
    >>> learner = jm.learners.lrd2(jm.models.conv4(None))
    """
    at_least(1, steps=steps)

    def solver(x, targets, lam, weights):
        return logistic(x, targets, lam, weights, steps=steps)

    return _closed_form(model, solver, lam, scale, bias, intercept, criterion)


def _closed_form(
    model: Model,
    solver: Callable[[Array, Array, Array, Array | None], Array],
    lam: float,
    scale: float,
    bias: float,
    intercept: bool,
    criterion: Criterion | Callable,
) -> MetaLearner:
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    positive(lam=lam, scale=scale)

    def init(key, episode):
        base = model.init(key, episode.support.inputs)
        dtype = tree.dtype_of(base.params)
        head = {
            "log_lam": jnp.log(jnp.full((), lam, dtype)),
            "log_scale": jnp.log(jnp.full((), scale, dtype)),
            "bias": jnp.full((), bias, dtype),
        }
        return base._replace(params={"model": base.params, "head": head})

    def with_one(features):
        if not intercept:
            return features
        ones = jnp.ones((features.shape[0], 1), features.dtype)
        return jnp.concatenate([features, ones], 1)

    def solve(meta, features, support: Batch):
        lam = jnp.exp(meta.params["head"]["log_lam"])
        return solver(with_one(features), support.targets, lam, support.weights)

    def classify(meta, fast, features):
        head = meta.params["head"]
        return jnp.exp(head["log_scale"]) * (with_one(features) @ fast) + head["bias"]

    def adapt(meta, support, key):
        features, _ = call(
            model, encoder(meta), support.inputs, weights=support.weights
        )
        return solve(meta, features, support)

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, encoder(meta), inputs, weights=weights)
        return classify(meta, fast, features)

    def loss(meta, episode, key):
        found = embed(model, encoder(meta), episode, key)
        fast = solve(meta, found.support, episode.support)
        outputs = classify(meta, fast, found.query)
        lam = jnp.exp(meta.params["head"]["log_lam"])
        return scored(criterion, outputs, episode, found.buffers, lam=lam)

    return learner_of(init, adapt, predict, loss, criterion)
