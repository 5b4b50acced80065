"""MetaOptNet: the task's classifier is a support vector machine.

Lee, Maji, Ravichandran, Soatto 2019, Meta-Learning with Differentiable Convex
Optimization, https://arxiv.org/abs/1904.03758.
"""

import jax.numpy as jnp
from jax import lax

from jaxmeta import losses
from jaxmeta.core import MetaLearner, Model
from jaxmeta.functional.svm import kkt_residual, svm_dual
from jaxmeta.learners.embedding import embed, encoder, positive, real_rows, scored


def metaoptnet(
    model: Model,
    *,
    C: float = 0.1,
    iterations: int = 100,
    scale: float = 1.0,
) -> MetaLearner:
    """A multi-class support vector machine on the features, differentiated implicitly.

        W = argmin 1/2 sum_k ||w_k||^2 + C sum_n xi_n                     (eq. 2)
            s.t. (w_{y_n} - w_k) . f(x_n) >= 1 - [y_n = k] - xi_n
        outputs = gamma f(x) W                                            (eq. 12)

    The dual has n x c variables, however long the features are. It is solved by a fixed
    number of accelerated projected gradient steps; the gradient is that of its
    optimality conditions, not of the steps. `Aux.metrics["kkt"]` says how far from
    optimal they ended (relative to C): raise `iterations` if it is above 1e-3.

    Args:
      model: the encoder, `[n, ...] -> [n, d]`.
      C: price of a margin violation, > 0.
      iterations: >= 1; up to 25 support examples need about 100.
      scale: where gamma starts, > 0; its logarithm is learned.

    Returns:
      A `MetaLearner` with params `{"model", "head"}`, whose `fast` is W `[d, c]`.

    Raises:
      ValueError: if a hyper-parameter is out of range.

    >>> import jaxmeta as jm
    >>> learner = jm.metaoptnet(jm.models.conv4(None))
    """
    positive(C=C, scale=scale)
    if iterations < 1:
        raise ValueError(f"iterations: got {iterations}, wants an integer >= 1")

    def init(key, episode):
        base = model.init(key, episode.support.inputs)
        head = {"log_scale": jnp.log(jnp.asarray(scale))}
        return base._replace(params={"model": base.params, "head": head})

    def solve(features, targets):
        x = features * real_rows(targets)[:, None]
        gram = x @ x.T
        dual = svm_dual(gram, targets, C=C, iterations=iterations)
        return x.T @ dual, kkt_residual(gram, targets, dual, C=C)

    def classify(meta, weights, features):
        return jnp.exp(meta.params["head"]["log_scale"]) * (features @ weights)

    def adapt(meta, support, key):
        features, _ = model.apply(encoder(meta), support.inputs)
        return solve(features, support.targets)[0]

    def predict(meta, fast, inputs):
        features, _ = model.apply(encoder(meta), inputs)
        return classify(meta, fast, features)

    def loss(meta, episode, key):
        found = embed(model, encoder(meta), episode, key)
        weights, kkt = solve(found.support, episode.support.targets)
        outputs = classify(meta, weights, found.query)
        outputs = losses.over_present(outputs, episode.support.targets)
        kkt, targets = lax.stop_gradient(kkt), episode.query.targets
        return scored(losses.cross_entropy, outputs, targets, found.buffers, kkt=kkt)

    return MetaLearner(init, adapt, predict, loss)
