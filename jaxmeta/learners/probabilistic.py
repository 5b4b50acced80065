"""What the probabilistic learners share: a learner, and what it believes."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmeta import criteria, losses
from jaxmeta.core import (
    Array,
    Batch,
    Criterion,
    Meta,
    MetaLearner,
    PyTree,
    Rule,
    Scalar,
)
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.gaussian import Gaussian
from jaxmeta.functional.predictive import Predictive

Believe = Callable[[Meta, PyTree, PyTree], Predictive]


class Probabilistic(NamedTuple):
    """A meta-learner beside its predictive distribution.

    Attributes:
      learner: the `MetaLearner`; its `predict` returns the distribution's means, or the
        logarithms of its probabilities.
      predictive: `(meta, fast, inputs, weights=None) -> Predictive`;
        `jaxmeta.evaluate` takes it as `predictive=` and reports likelihood, calibration,
        coverage, entropy.
    """

    learner: MetaLearner
    predictive: Believe


def classifier(learner: MetaLearner) -> Probabilistic:
    """Any learner whose outputs are logits, as the single member that it is.

    >>> import jaxmeta as jm
    >>> believe = classifier(jm.protonet(jm.models.mlp(None))).predictive
    """

    def predictive(meta, fast, inputs, weights=None):
        return pr.categorical(asked(learner, meta, fast, inputs, weights))

    return Probabilistic(learner, predictive)


def asked(learner: MetaLearner, meta, fast, inputs, weights: Array | None) -> Array:
    """What a learner predicts, told the weights of the rows where there are any."""
    if weights is None:
        return learner.predict(meta, fast, inputs)
    return learner.predict(meta, fast, inputs, weights=weights)


def regressor(learner: MetaLearner, noise: float | Array) -> Probabilistic:
    """Any learner of real values, with normal noise of one standard deviation.

    Args:
      learner: predicts means.
      noise: the standard deviation, fitted on tasks that neither train nor test.

    Returns:
      A `Probabilistic`.

    >>> import optax, jaxmeta as jm
    >>> learner = jm.maml(jm.models.mlp(1), optax.sgd(0.01), criterion=jm.criteria.regression)
    >>> believe = regressor(learner, noise=0.3).predictive
    """

    def predictive(meta, fast, inputs, weights=None):
        return pr.normal(asked(learner, meta, fast, inputs, weights), noise)

    return Probabilistic(learner, predictive)


def mixture(outputs: Array, params: dict) -> Predictive:
    """Members' outputs `[M, n, c]` and, in regression, the learned noise."""
    if "log_noise" not in params:
        return pr.categorical(outputs)
    return pr.normal(outputs, jnp.exp(params["log_noise"]))


def log_noise(noise: float | None, params: PyTree) -> dict[str, Array]:
    """The parameter that a regressor learns its noise by, of the type of the others;
    nothing for a classifier."""
    if noise is None:
        return {}
    if not noise > 0:
        raise ValueError(f"noise: got {noise}, wants a positive number or None")
    # with a dtype: a weakly typed parameter would be compiled for twice
    dtype = jnp.result_type(*jax.tree.leaves(params))
    return {"log_noise": jnp.full((), math.log(noise), dtype)}


def check_noise(criterion: Criterion, noise: float | None) -> None:
    """Refuses real values without noise: they would be taken for logits of classes."""
    if noise is None and criterion == criteria.regression:
        raise ValueError(
            "noise: got None with criteria.regression, wants where the standard "
            "deviation of the targets starts, such as 0.3"
        )


def prepared(criterion: Criterion, outputs: Array, support: Batch) -> Array:
    """`criterion.prepare` of every member's outputs, `[M, n, c]`."""
    return jax.vmap(lambda out: criterion.prepare(out, support))(outputs)


def likelihood(
    criterion: Criterion, outputs: Array, params: dict, asked: Batch
) -> Scalar:
    """The loss of members' outputs `[M, n, c]` together: of one, or of their mixture.

    With learned noise the normal likelihood; else `criterion` of the logarithm of the
    mean probability, which is a logit of itself.
    """
    belief = mixture(outputs, params)
    if belief.std is not None:
        return pr.nll(belief, asked.targets, asked.weights)
    losses.check_classes(outputs[0], asked.targets)
    alone = outputs[0] if outputs.shape[0] == 1 else pr.point(belief)
    return criterion.loss(alone, asked.targets, asked.weights)


def draw_tree(start: Gaussian, key: Array) -> PyTree:
    """One draw of a tree of normals: m + s e for every array, e ~ N(0, 1)."""
    means, treedef = jax.tree.flatten(start.mean)
    keys = jax.random.split(key, len(means))
    drawn = [
        m + s * jax.random.normal(k, m.shape, m.dtype)
        for k, m, s in zip(keys, means, jax.tree.leaves(start.std), strict=True)
    ]
    return jax.tree.unflatten(treedef, drawn)


def warm_start(
    meta: Meta,
    inner: optax.GradientTransformation | Rule,
    *,
    init_std: float = 0.02,
    init_gamma: float = 0.01,
    noise: float | None = None,
) -> Meta:
    """PLATIPUS's start from a trained MAML's `Meta`, with the options of `platipus`.

    Args:
      meta: of `maml(model, inner)`, or of the model itself.
      inner: the inner optimiser; a learned rule keeps what it has learned.
      init_std: standard deviation of every weight; 0 is none, for ever.
      init_gamma: step size of both inference networks.
      noise: as in `platipus`.

    Returns:
      A `Meta` for `platipus(model, inner)`.

    >>> start = warm_start(Meta({"w": jnp.ones(2)}), optax.sgd(0.1))
    >>> sorted(start.params)
    ['gamma_p', 'gamma_q', 'log_std_p', 'log_std_q', 'mean']
    """
    learned = isinstance(inner, Rule)
    ruled = (
        learned
        and isinstance(meta.params, dict)
        and set(meta.params) == {"model", "rule"}
    )
    mean = meta.params["model"] if ruled else meta.params

    def like(value: float, shape=None) -> PyTree:
        return jax.tree.map(
            lambda x: jnp.full(x.shape if shape is None else shape, value, x.dtype),
            mean,
        )

    log_std = like(math.log(init_std) if init_std else -math.inf)
    params = {
        "mean": mean,
        "log_std_p": log_std,
        "log_std_q": log_std,
        "gamma_p": like(init_gamma, ()),
        "gamma_q": like(init_gamma, ()),
        **log_noise(noise, mean),
    }
    if learned:
        params["rule"] = meta.params["rule"] if ruled else inner.init(mean)
    return Meta(params, meta.buffers)
