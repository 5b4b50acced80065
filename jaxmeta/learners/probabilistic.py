"""What the probabilistic learners share: a learner, and what it believes."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxmeta.core import Array, Meta, MetaLearner, PyTree, Rule
from jaxmeta.functional import predictive as pr
from jaxmeta.functional.gaussian import Gaussian
from jaxmeta.functional.predictive import Predictive

Believe = Callable[[Meta, PyTree, PyTree], Predictive]


class Probabilistic(NamedTuple):
    """A meta-learner beside its predictive distribution.

    Attributes:
      learner: the `MetaLearner`; its `predict` returns the distribution's means, or the
        logarithms of its probabilities.
      predictive: `(meta, fast, inputs) -> Predictive`; `jaxmeta.evaluate` takes it as
        `predictive=` and reports likelihood, calibration, coverage, entropy.
    """

    learner: MetaLearner
    predictive: Believe


def classifier(learner: MetaLearner) -> Probabilistic:
    """Any learner whose outputs are logits, as the single member that it is.

    >>> import jaxmeta as jm
    >>> believe = classifier(jm.protonet(jm.models.mlp(None))).predictive
    """

    def predictive(meta, fast, inputs):
        return pr.categorical(learner.predict(meta, fast, inputs))

    return Probabilistic(learner, predictive)


def regressor(learner: MetaLearner, noise: float | Array) -> Probabilistic:
    """Any learner of real values, with normal noise of one standard deviation.

    Args:
      learner: predicts means.
      noise: the standard deviation, fitted on tasks that neither train nor test.

    Returns:
      A `Probabilistic`.

    >>> import optax, jaxmeta as jm
    >>> learner = jm.maml(jm.models.mlp(1), optax.sgd(0.01), task_loss=jm.losses.mse)
    >>> believe = regressor(learner, noise=0.3).predictive
    """

    def predictive(meta, fast, inputs):
        return pr.normal(learner.predict(meta, fast, inputs), noise)

    return Probabilistic(learner, predictive)


def mixture(outputs: Array, params: dict) -> Predictive:
    """Members' outputs `[M, n, c]` and, in regression, the learned noise."""
    if "log_noise" not in params:
        return pr.categorical(outputs)
    return pr.normal(outputs, jnp.exp(params["log_noise"]))


def log_noise(noise: float | None) -> dict[str, Array]:
    """The parameter that a regressor learns its noise by; nothing for a classifier."""
    if noise is None:
        return {}
    if not noise > 0:
        raise ValueError(f"noise: got {noise}, wants a positive number or None")
    return {"log_noise": jnp.log(jnp.asarray(noise))}


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
        **log_noise(noise),
    }
    if learned:
        params["rule"] = meta.params["rule"] if ruled else inner.init(mean)
    return Meta(params, meta.buffers)
