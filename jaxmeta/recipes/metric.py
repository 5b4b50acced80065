"""Methods of the learners that compare examples and need more than a signature says."""

import inspect

from jaxmeta import learners, models
from jaxmeta.core import Model
from jaxmeta.recipes.method import built, method, only_classes
from jaxmeta.recipes.networks import norm_of
from jaxmeta.recipes.parts import Method, Network, Room


@method(learners.relation_network)
def relation_network(room: Room, **more) -> Method:
    """Scores pairs of a class and a query with a network of its own."""
    only_classes(room, "relation_network")
    learner = learners.relation_network(
        maps_of(room.network),
        relation=models.relation(norm=norm_of(room.network)),
        **more,
    )
    return built(room, lambda side, steps: learner, head=False)


def maps_of(network: Network) -> Model:
    """The network without its head, as feature maps where it has any."""
    parameters = inspect.signature(network).parameters
    return network(None, maps=True) if "maps" in parameters else network(None)
