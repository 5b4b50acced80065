"""What the neural processes share: several networks as one, and a normal prediction."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxmeta.core import (
    Array,
    Batch,
    Criterion,
    Meta,
    MetaLearner,
    Model,
    PyTree,
    Scalar,
)
from jaxmeta.functional.gaussian import Gaussian, coverage, gaussian_nll
from jaxmeta.learners.embedding import judged
from jaxmeta.models.call import call


class NeuralProcess(NamedTuple):
    """A neural process, as a learner and as what it predicts.

    Attributes:
      learner: the `MetaLearner`; its `predict` returns means.
      predictive: `(meta, fast, inputs, weights=None) -> Gaussian`, mean and standard
        deviation `[n, c]`.
    """

    learner: MetaLearner
    predictive: Callable[..., Gaussian]


Run = Callable[..., Array]
"""`(name, inputs, weights=None) -> outputs` of one of several networks."""


def passes(
    models: Mapping[str, Model], meta: Meta, train: bool = False, key=None
) -> tuple[Run, dict[str, PyTree]]:
    """How to run each network by name; the buffers that they gather are left beside it.

    Args:
      models: by name.
      meta: parameters and buffers of each, by the same names.
      train: the mode.
      key: for all of them; each has its own.

    Returns:
      `(run, gathered)`.
    """
    gathered = dict(meta.buffers)
    split = [None] * len(models) if key is None else jax.random.split(key, len(models))
    keys = dict(zip(models, split, strict=True))

    def run(name, inputs, weights=None):
        here = Meta(meta.params[name], meta.buffers[name])
        how = dict(weights=weights, train=train, key=keys[name])
        outputs, gathered[name] = call(models[name], here, inputs, **how)
        return outputs

    return run, gathered


def parts(metas: Mapping[str, Meta]) -> Meta:
    """One `Meta` of those of several networks."""
    return Meta(
        {name: meta.params for name, meta in metas.items()},
        {name: meta.buffers for name, meta in metas.items()},
    )


def width_of(model: Model, meta: Meta, inputs: PyTree) -> int:
    """How many numbers a network says of a row."""
    return jax.eval_shape(lambda: model.apply(meta, inputs)[0]).shape[-1]


def check_decoder(model: Model, meta: Meta, inputs: PyTree, targets: Array) -> None:
    """Refuses a decoder that does not say mean and deviation of every target."""
    got, wants = width_of(model, meta, inputs), 2 * targets.shape[-1]
    if got != wants:
        raise ValueError(
            f"decoder: got {got} outputs, wants {wants}: "
            "a mean and a standard deviation for each target"
        )


def check_min_std(min_std: float) -> None:
    """Refuses a floor that is none."""
    if not min_std > 0:
        raise ValueError(f"min_std: got {min_std}, wants a number > 0")


def gaussian_of(decoded: Array, min_std: float) -> Gaussian:
    """Mean and standard deviation from what a decoder says, `[n, 2 c]`."""
    mean, raw = jnp.split(decoded, 2, -1)
    return Gaussian(mean, min_std + (1 - min_std) * jax.nn.softplus(raw))


def reported(
    criterion: Criterion, belief: Gaussian, support: Batch, query: Batch
) -> tuple[Scalar, dict[str, Array]]:
    """The negative log-likelihood of the queries, and it with what else is measured."""
    nll = gaussian_nll(belief, query.targets, query.weights)
    return nll, {
        **judged(criterion, belief.mean, support, query)[1],
        "nll": nll,
        "coverage": coverage(belief, query.targets, query.weights),
    }


def rows_of(inputs: Array) -> Array:
    """`[n, ...]` as `[n, d]`."""
    return inputs.reshape(inputs.shape[0], -1)


def pairs_of(inputs: Array, targets: Array) -> Array:
    """Inputs and targets side by side, `[n, d + c]`."""
    return jnp.concatenate([rows_of(inputs), targets], -1)
