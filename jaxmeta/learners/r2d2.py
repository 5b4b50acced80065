"""R2-D2 and LR-D2: the task's classifier in closed form, or nearly.

Bertinetto, Henriques, Torr, Vedaldi 2019, Meta-learning with Differentiable Closed-form
Solvers, https://arxiv.org/abs/1805.08136.
"""

from collections.abc import Callable

import jax.numpy as jnp

from jaxmeta import losses
from jaxmeta.core import Array, Batch, MetaLearner, Model
from jaxmeta.functional.ridge import Form, logistic, ridge
from jaxmeta.learners.embedding import embed, encoder, positive, real_rows, scored


def r2d2(
    model: Model,
    *,
    lam: float = 1.0,
    scale: float = 10.0,
    bias: float = 0.0,
    intercept: bool = True,
    form: Form = "auto",
) -> MetaLearner:
    """Ridge regression on the features, onto one-hot labels, differentiated exactly.

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

    Returns:
      A `MetaLearner` with params `{"model", "head"}`, whose `fast` is W `[d, c]` (one
      row more with an intercept).

    Raises:
      ValueError: if `lam` or `scale` is not positive.

    >>> import jaxmeta as jm
    >>> learner = jm.r2d2(jm.models.conv4(None))
    """

    def solver(x, targets, lam):
        return ridge(x, targets, lam, form=form)

    return _closed_form(model, solver, lam, scale, bias, intercept)


def lrd2(
    model: Model,
    *,
    lam: float = 1.0,
    scale: float = 1.0,
    bias: float = 0.0,
    intercept: bool = True,
    steps: int = 5,
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

    Returns:
      A `MetaLearner` as that of `r2d2`.

    Raises:
      ValueError: if `lam` or `scale` is not positive, or `steps < 1`.

    >>> import jaxmeta as jm
    >>> learner = jm.learners.lrd2(jm.models.conv4(None))
    """
    if steps < 1:
        raise ValueError(f"steps: got {steps}, wants an integer >= 1")

    def solver(x, targets, lam):
        return logistic(x, targets, lam, steps=steps, weights=real_rows(targets))

    return _closed_form(model, solver, lam, scale, bias, intercept)


def _closed_form(
    model: Model,
    solver: Callable[[Array, Array, Array], Array],
    lam: float,
    scale: float,
    bias: float,
    intercept: bool,
) -> MetaLearner:
    positive(lam=lam, scale=scale)

    def init(key, episode):
        base = model.init(key, episode.support.inputs)
        head = {
            "log_lam": jnp.log(jnp.asarray(lam)),
            "log_scale": jnp.log(jnp.asarray(scale)),
            "bias": jnp.asarray(float(bias)),
        }
        return base._replace(params={"model": base.params, "head": head})

    def with_one(features):
        if not intercept:
            return features
        ones = jnp.ones((features.shape[0], 1), features.dtype)
        return jnp.concatenate([features, ones], 1)

    def solve(meta, features, targets):
        # a row of padding must be zero in X as well, its 1 included
        x = with_one(features) * real_rows(targets)[:, None]
        return solver(x, targets, jnp.exp(meta.params["head"]["log_lam"]))

    def classify(meta, weights, features):
        head = meta.params["head"]
        return (
            jnp.exp(head["log_scale"]) * (with_one(features) @ weights) + head["bias"]
        )

    def adapt(meta, support: Batch, key):
        features, _ = model.apply(encoder(meta), support.inputs)
        return solve(meta, features, support.targets)

    def predict(meta, fast, inputs):
        features, _ = model.apply(encoder(meta), inputs)
        return classify(meta, fast, features)

    def loss(meta, episode, key):
        found = embed(model, encoder(meta), episode, key)
        weights = solve(meta, found.support, episode.support.targets)
        outputs = classify(meta, weights, found.query)
        outputs = losses.over_present(outputs, episode.support.targets)
        lam = jnp.exp(meta.params["head"]["log_lam"])
        targets = episode.query.targets
        return scored(losses.cross_entropy, outputs, targets, found.buffers, lam=lam)

    return MetaLearner(init, adapt, predict, loss)
