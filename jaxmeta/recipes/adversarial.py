"""MetaGAN on the command line: a generator beside the network, a rate for each."""

from typing import Literal

import optax

from jaxmeta import learners, models
from jaxmeta.core import MetaLearner
from jaxmeta.learners.meta_gan import players
from jaxmeta.recipes.method import Inner, built, make_inner, method, only_classes
from jaxmeta.recipes.metric import maps_of
from jaxmeta.recipes.networks import norm_of
from jaxmeta.recipes.parts import Method, Room, Side
from jaxmeta.runs.errors import ConfigError


@method(learners.meta_gan)
def meta_gan(
    room: Room,
    *,
    inner: Inner = "sgd",
    inner_rate: float = 0.4,
    inner_steps: int = 1,
    eval_inner_steps: int | None = None,
    base: Literal["maml", "relation"] = "maml",
    generator: tuple[int, int] = (64, 32),
    generator_rate: float = 1e-3,
    **more,
) -> Method:
    """A base learner that must also tell examples from made-up ones.

    Args:
      base: what a generator is added to.
      generator: channels of the generator's layers; no more than the network's, for most
        of the work is at the full size.
      generator_rate: outer learning rate of the generator; rate is the network's.
    """
    only_classes(room, "meta_gan")
    if room.shape is None or len(room.shape) != 3:
        raise ConfigError("dataset", "no images", "images, which are what it makes up")
    size, _, channels = room.shape
    if size % 4:
        wants = "a multiple of 4: a generator doubles twice"
        raise ConfigError("size", size, wants)
    if not 0 < generator_rate < float("inf"):
        raise ConfigError("generator_rate", generator_rate, "a finite number > 0")
    relates = base == "relation"

    def make(side: Side, steps: int) -> MetaLearner:
        return learners.meta_gan(
            maps_of(room.network) if relates else room.network(side.outputs),
            make_inner(inner, inner_rate),
            base=base,
            relation=models.relation(norm=norm_of(room.network)),
            generator=models.generator(size, channels, filters=generator),
            steps=steps,
            **more,
        )

    def split(tx, schedule):
        # the players of a game want rates of their own, and little momentum
        second = optax.adam(schedule(generator_rate), b1=0.5)
        return optax.partition({"discriminator": tx, "generator": second}, players)

    return built(
        room,
        make,
        steps=None if relates else (inner_steps, eval_inner_steps),
        head=not relates,
        outer=split,
    )
