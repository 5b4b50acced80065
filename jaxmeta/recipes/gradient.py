"""Methods of the learners that adapt by gradients and need more than a signature says."""

import jax
import jax.numpy as jnp
import optax

from jaxmeta import learners, models
from jaxmeta.core import Meta, MetaLearner, Model
from jaxmeta.learners.common import AllBut
from jaxmeta.recipes.method import Inner, built, make_inner, method
from jaxmeta.recipes.parts import Method, Room, Side
from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.files import expanded
from jaxmeta.runs.making import unread
from jaxmeta.runs.run import load

_EPOCHS = 100  # MAML++'s schedules count epochs; a run of any length is cut in so many


@method(learners.maml_plus_plus, hide=("sets",))
def maml_plus_plus(
    room: Room,
    *,
    inner_steps: int = 5,
    eval_inner_steps: int | None = None,
    epoch: int | None = None,
    first_order_epochs: int = 0,
    **more,
) -> Method:
    """MAML with rates and norms per step, and a loss at every step.

    Args:
      epoch: outer steps of an epoch; None: a hundredth of the run.
      first_order_epochs: epochs that hold the inner gradient constant, to begin with.
    """
    epoch = max(room.steps // _EPOCHS, 1) if epoch is None else epoch

    def make(side: Side, steps: int) -> MetaLearner:
        return learners.maml_plus_plus(
            room.network(side.outputs),
            steps=steps,
            sets=max(inner_steps, 1),  # a test of more steps goes on with the last
            epoch=epoch,
            first_order_epochs=first_order_epochs,
            criterion=room.criterion,
            **more,
        )

    return built(room, make, steps=(inner_steps, eval_inner_steps), head=True)


@method(learners.imaml)
def imaml(
    room: Room,
    *,
    inner: Inner = "sgd",
    inner_rate: float = 0.4,
    inner_steps: int = 16,
    eval_inner_steps: int | None = None,
    **more,
) -> Method:
    """MAML by the gradient of a minimum instead of the path to it."""

    def make(side: Side, steps: int) -> MetaLearner:
        net, tx = room.network(side.outputs), make_inner(inner, inner_rate)
        if steps == 0:
            return _unadapted(room, net)
        return learners.imaml(net, tx, steps=steps, criterion=room.criterion, **more)

    return built(
        room, make, steps=(at_least_one(inner_steps), eval_inner_steps), head=True
    )


@method(learners.reptile)
def reptile(
    room: Room,
    *,
    inner: Inner = "adam",
    inner_rate: float = 1e-3,
    inner_steps: int = 5,
    eval_inner_steps: int | None = None,
    inner_batch: int | None = None,
    **more,
) -> Method:
    """Moves towards the adapted weights; first order.

    Args:
      inner_batch: support examples an inner step draws, of a small support set all of
        them; None: always all.
    """
    make_inner(inner, inner_rate)  # checks the rate
    # nothing is differentiated, so that Adam need not be smooth
    tx = optax.sgd(inner_rate) if inner == "sgd" else optax.adam(inner_rate, b1=0.0)

    def make(side: Side, steps: int) -> MetaLearner:
        net = room.network(side.outputs)
        if steps == 0:
            return _unadapted(room, net)
        return learners.reptile(
            net,
            tx,
            steps=steps,
            inner_batch=inner_batch and min(inner_batch, side.support),
            criterion=room.criterion,
            **more,
        )

    return built(
        room, make, steps=(at_least_one(inner_steps), eval_inner_steps), head=True
    )


@method(learners.maml, hide=("adapt_only",))
def melu(
    room: Room,
    *,
    inner: Inner = "sgd",
    inner_rate: float = 0.05,
    inner_steps: int = 5,
    eval_inner_steps: int | None = None,
    **more,
) -> Method:
    """MAML of the layers above the embeddings, which all tasks share (MeLU)."""
    wants = "wants a network with embeddings, as that of ratings; or the learner maml"

    def make(side: Side, steps: int) -> MetaLearner:
        return learners.maml(
            room.network(side.outputs),
            make_inner(inner, inner_rate),
            steps=steps,
            adapt_only=AllBut(_embeds, "network", wants),
            criterion=room.criterion,
            inner_criterion=room.inner,
            **more,
        )

    return built(room, make, steps=(inner_steps, eval_inner_steps), head=True)


def _embeds(path: str) -> bool:
    return path.startswith("embed")


@method(learners.meta_transfer)
def meta_transfer(
    room: Room,
    *,
    inner: Inner = "sgd",
    inner_rate: float = 0.01,
    inner_steps: int = 20,
    eval_inner_steps: int | None = None,
    pretrained: str | None = None,
    **more,
) -> Method:
    """Scales and shifts a frozen, pretrained network and adapts the classifier.

    Args:
      pretrained: parameters of the network: a run folder, or a .safetensors file as
        jaxmeta export writes it; None: random ones, of use in tests alone.
    """
    net = room.network(None)
    if pretrained is not None and not unread():
        net = models.pretrained(net, _pretrained(pretrained, net, room))

    def make(side: Side, steps: int) -> MetaLearner:
        return learners.meta_transfer(
            net,
            make_inner(inner, inner_rate),
            steps=steps,
            criterion=room.criterion,
            **more,
        )

    return built(room, make, steps=(inner_steps, eval_inner_steps), head=True)


def _pretrained(path: str, net: Model, room: Room) -> Meta:
    """Parameters of a run, or of a file."""
    wants = "a run folder, or a .safetensors file"
    if expanded(path).is_dir():
        return load(path, data=False).meta
    if room.shape is None:
        raise ConfigError("pretrained", path, "a run folder: these are no images")
    images = jax.ShapeDtypeStruct((1, *room.shape), jnp.float32)
    fresh = jax.jit(net.init)(jax.random.key(0), jnp.zeros(images.shape, images.dtype))
    try:
        return models.load_safetensors(expanded(path), fresh)
    except ValueError as error:
        raise ConfigError("pretrained", path, f"{wants}: {error}") from error


def _unadapted(room: Room, net: Model) -> MetaLearner:
    """No inner step is MAML's, whatever the learner."""
    return learners.maml(net, optax.sgd(1.0), steps=0, criterion=room.criterion)


def at_least_one(inner_steps: int) -> int:
    if inner_steps < 1:
        raise ConfigError("inner_steps", inner_steps, "an integer >= 1")
    return inner_steps
