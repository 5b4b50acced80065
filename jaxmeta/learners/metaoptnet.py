"""MetaOptNet: the task's classifier is a support vector machine.

Lee, Maji, Ravichandran, Soatto 2019, Meta-Learning with Differentiable Convex
Optimization, https://arxiv.org/abs/1904.03758.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxmeta import criteria, tree
from jaxmeta.checks import at_least, positive
from jaxmeta.core import Batch, Criterion, Features, MetaLearner
from jaxmeta.functional.svm import kkt_residual, svm_dual
from jaxmeta.learners.embedding import embed, encoder, scored
from jaxmeta.learners.padded import learner_of
from jaxmeta.models.call import call, check_model


def metaoptnet(
    model: Features,
    *,
    C: float = 0.1,
    iterations: int = 1000,
    scale: float = 1.0,
    criterion: Criterion | Callable = criteria.classification,
) -> MetaLearner:
    """A multi-class support vector machine on the features, differentiated implicitly.

        W = argmin 1/2 sum_k ||w_k||^2 + C sum_n xi_n                     (eq. 2)
            s.t. (w_{y_n} - w_k) . f(x_n) >= 1 - [y_n = k] - xi_n
        outputs = gamma f(x) W                                            (eq. 12)

    The dual has n x c variables, however long the features are. It is solved by
    accelerated projected gradient steps until rounding stops them; the gradient is that
    of its optimality conditions, not of the steps. Features s times as long are the same
    problem at a price of C s^2.

    `Aux.metrics["kkt"]` says how far from optimal they ended (`kkt_residual`, in scores
    beside a margin of 1). Above 0.01 the machine has not converged, and its gradient is
    not that of the solution either: raise `iterations`, or scale the features. Columns
    of different units, and an offset that all examples share, make it slow.

    Args:
      model: the encoder, `[n, ...] -> [n, d]`.
      C: price of a margin violation, > 0.
      iterations: at most, >= 1. An example of a class needs about 100, 25 of five
        classes about 300; more cost nothing.
      scale: where gamma starts, > 0; its logarithm is learned.
      criterion: what the queries are judged by, in training and in tests;
        `criteria.label_smoothing(0.1)` in the paper.

    Returns:
      A `MetaLearner` with params `{"model", "head"}`, whose `fast` is W `[d, c]`.

    Raises:
      ValueError: if a hyper-parameter is out of range.

    >>> import jaxmeta as jm
    >>> learner = jm.metaoptnet(jm.models.conv4(None))
    """
    check_model(model)
    criterion = criteria.as_criterion(criterion)
    positive(C=C, scale=scale)
    at_least(1, iterations=iterations)

    def init(key, episode):
        base = model.init(key, episode.support.inputs)
        log_scale = jnp.log(jnp.full((), scale, tree.dtype_of(base.params)))
        params = {"model": base.params, "head": {"log_scale": log_scale}}
        return base._replace(params=params)

    def solve(features, support: Batch):
        problem = (features @ features.T, support.targets)
        dual = svm_dual(*problem, support.weights, C=C, iterations=iterations)
        kkt = kkt_residual(*problem, dual, support.weights, C=C)
        return features.T @ dual, lax.stop_gradient(kkt)

    def classify(meta, fast, features):
        return jnp.exp(meta.params["head"]["log_scale"]) * (features @ fast)

    def adapt(meta, support, key):
        features, _ = call(
            model, encoder(meta), support.inputs, weights=support.weights
        )
        return solve(features, support)[0]

    def predict(meta, fast, inputs, weights=None):
        features, _ = call(model, encoder(meta), inputs, weights=weights)
        return classify(meta, fast, features)

    def loss(meta, episode, key):
        found = embed(model, encoder(meta), episode, key)
        fast, kkt = solve(found.support, episode.support)
        outputs = classify(meta, fast, found.query)
        return scored(criterion, outputs, episode, found.buffers, kkt=kkt)

    return learner_of(init, adapt, predict, loss, criterion)
