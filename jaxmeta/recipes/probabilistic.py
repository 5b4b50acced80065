"""Methods of the learners that say how sure they are, and what they say."""

from collections.abc import Callable
from typing import Any

import optax

from jaxmeta import criteria, learners, models
from jaxmeta.functional.predictive import of_gaussian
from jaxmeta.learners.bmaml import bmaml_process
from jaxmeta.learners.cnp import neural_process
from jaxmeta.learners.conv_cnp import convolutional_process
from jaxmeta.learners.np import latent_process
from jaxmeta.learners.platipus import platipus_process
from jaxmeta.learners.probabilistic import Probabilistic
from jaxmeta.learners.processes import NeuralProcess
from jaxmeta.learners.tnp import transformer_process
from jaxmeta.recipes.method import Inner, built, make_inner, method
from jaxmeta.recipes.parts import Method, Room, Side
from jaxmeta.runs.errors import ConfigError


@method(learners.cnp)
def cnp(
    room: Room,
    *,
    keys: tuple[int, ...] = (128, 128),
    min_std: float = 0.01,
    **more,
) -> Method:
    """A conditional neural process: regression that says how sure it is.

    Args:
      keys: hidden widths of the network that attention compares points by.
      min_std: the least standard deviation that it can say.
    """
    _only_regression(room, "cnp")

    def make(side: Side, steps: int) -> Probabilistic:
        plain = more["attention"] == "none"
        process = neural_process(
            room.network(None),
            room.network(2 * side.outputs),
            keys=None if plain else models.mlp(None, hidden=keys),
            min_std=min_std,
            criterion=room.criterion,
            **more,
        )

        return _believing(process)

    return built(room, make, head=True)


@method(learners.tnp)
def tnp(room: Room, *, width: int = 64, **more) -> Method:
    """A transformer neural process: examples and queries are tokens of one network.

    Args:
      width: of a token.
    """
    _only_regression(room, "tnp")
    return _encoded(transformer_process, room, width, more)


@method(learners.conv_cnp)
def conv_cnp(room: Room, *, width: int = 32, **more) -> Method:
    """A convolutional neural process: what is learned here holds there, too.

    Args:
      width: of what the grid holds of the examples, before the convolutions.
    """
    _only_regression(room, "conv_cnp")
    return _encoded(convolutional_process, room, width, more)


@method(learners.np)
def np(room: Room, *, min_std: float = 0.01, **more) -> Method:
    """A latent neural process: a draw is a whole function.

    Args:
      min_std: the least standard deviation that it can say, of one draw.
    """
    _only_regression(room, "np")

    def make(side: Side, steps: int) -> Probabilistic:
        return latent_process(
            room.network(None),
            room.network(2 * side.outputs),
            min_std=min_std,
            criterion=room.criterion,
            **more,
        )

    return built(room, make, head=True)


def _encoded(
    process: Callable[..., NeuralProcess], room: Room, width: int, more: dict[str, Any]
) -> Method:
    """Of a network of so many outputs, and one of a mean and a deviation."""
    if width < 1:
        raise ConfigError("width", width, "an integer >= 1")

    def make(side: Side, steps: int) -> Probabilistic:
        nets = room.network(width), room.network(2 * side.outputs)
        return _believing(process(*nets, criterion=room.criterion, **more))

    return built(room, make, head=True)


def _only_regression(room: Room, name: str) -> None:
    if room.criterion is criteria.classification:
        raise ConfigError("learner", name, "one that can do classification")


def _believing(process: NeuralProcess) -> Probabilistic:
    """A process whose normal prediction is a mixture of one."""

    def predictive(meta, fast, x, weights=None):
        return of_gaussian(process.predictive(meta, fast, x, weights))

    return Probabilistic(process.learner, predictive)


@method(learners.platipus)
def platipus(
    room: Room,
    *,
    inner: Inner = "sgd",
    inner_rate: float = 0.4,
    inner_steps: int = 5,
    eval_inner_steps: int | None = None,
    noise: float = 0.5,
    **more,
) -> Method:
    """MAML from a distribution of initialisations: draws, and their mean.

    Args:
      noise: where it starts to learn the noise of real-valued targets.
    """

    own = make_inner(inner, inner_rate), noise, (inner_steps, eval_inner_steps)
    return _drawn(platipus_process, room, *own, more)


@method(learners.bmaml)
def bmaml(
    room: Room,
    *,
    inner: Inner = "sgd",
    inner_rate: float = 0.4,
    inner_steps: int = 1,
    eval_inner_steps: int | None = None,
    noise: float = 0.5,
    **more,
) -> Method:
    """MAML with particles that adapt together and keep apart (SVGD).

    Args:
      noise: where it starts to learn the noise of real-valued targets.
    """

    own = make_inner(inner, inner_rate), noise, (inner_steps, eval_inner_steps)
    return _drawn(bmaml_process, room, *own, more)


def _drawn(
    process: Callable[..., Probabilistic],
    room: Room,
    inner: optax.GradientTransformation,
    noise: float,
    steps: tuple[int, int | None],
    more: dict[str, Any],
) -> Method:
    """A learner whose parameters of a task are several, drawn or apart."""

    def make(side: Side, steps: int) -> Probabilistic:
        return process(
            room.network(side.outputs),
            inner,
            steps=steps,
            noise=_noise(room, noise),
            criterion=room.criterion,
            **more,
        )

    return built(room, make, steps=steps, head=True)


def _noise(room: Room, noise: float) -> float | None:
    """Classes have none."""
    return None if room.criterion is criteria.classification else noise
