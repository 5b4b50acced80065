"""What the probabilistic learners share: a learner, and what it believes."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from jaxmeta.core import Array, Meta, MetaLearner, PyTree
from jaxmeta.functional import predictive as pr
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
