"""Methods of the learners that compare examples and need more than a signature says."""

import inspect
from collections.abc import Callable, Mapping

from jaxmeta import learners, models
from jaxmeta.core import Meta, Model
from jaxmeta.learners.embedding import encoder
from jaxmeta.recipes.method import built, method, only_classes
from jaxmeta.recipes.networks import norm_of
from jaxmeta.recipes.parts import Method, Network, Room
from jaxmeta.transfer.transduction import whole


def _buffers(meta: Meta) -> Meta:
    """Of `simple_shot`, which keeps a mean beside the network's own buffers."""
    return meta._replace(buffers=meta.buffers["model"])


EMBEDDINGS: Mapping[str, Callable[[Meta], Meta]] = {
    "protonet": whole,
    "baseline_plus_plus": whole,
    "logistic_regression": whole,
    "matching_network": encoder,
    "metaoptnet": encoder,
    "r2d2": encoder,
    "tip_adapter": encoder,
    "simple_shot": _buffers,
}
"""Learners that compare features `[n, d]`: where the network's `Meta` is in theirs."""


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
