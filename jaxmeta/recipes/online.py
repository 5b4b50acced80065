"""Methods of the learners of a stream: one step an example, in the order of the task.

The sampler gives the examples class by class, which is what these learn to bear.
"""

from jaxmeta import learners, models
from jaxmeta.recipes.method import Inner, built, make_inner, method
from jaxmeta.recipes.parts import Method, Room


@method(learners.oml)
def oml(
    room: Room, *, inner: Inner = "sgd", inner_rate: float = 0.03, **more
) -> Method:
    """Features on which a head learns classes one after another."""
    tx = make_inner(inner, inner_rate)
    return built(
        room,
        lambda side, steps: learners.oml(
            room.network(side.outputs), tx, criterion=room.criterion, **more
        ),
        head=True,
    )


@method(learners.online_maml)
def online_maml(
    room: Room, *, inner: Inner = "sgd", inner_rate: float = 0.1, **more
) -> Method:
    """Predicts an example, then learns it; judged by both."""
    tx = make_inner(inner, inner_rate)
    return built(
        room,
        lambda side, steps: learners.online_maml(
            room.network(side.outputs), tx, criterion=room.criterion, **more
        ),
        head=True,
    )


@method(learners.anml)
def anml(
    room: Room, *, inner: Inner = "sgd", inner_rate: float = 0.1, **more
) -> Method:
    """A second network like the first decides which features learn from an example."""
    tx = make_inner(inner, inner_rate)
    features = models.gated(room.network(None), room.network(None))
    return built(
        room,
        lambda side, steps: learners.anml(
            models.with_head(features, models.linear_head(side.outputs)),
            tx,
            criterion=room.criterion,
            **more,
        ),
        head=True,
    )
