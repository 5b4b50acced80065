"""Methods of the learners that compare examples and need more than a signature says."""

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

from jaxmeta import learners, models
from jaxmeta.core import Meta, Model
from jaxmeta.learners.embedding import encoder
from jaxmeta.recipes.method import built, method, only_classes
from jaxmeta.recipes.networks import norm_of
from jaxmeta.recipes.parts import Method, Network, Room
from jaxmeta.transfer.transduction import whole


class Place(NamedTuple):
    """Where the network's `Meta` is in the learner's: to be read, and to be replaced."""

    where: Callable[[Meta], Meta]
    put: Callable[[Meta, Meta], Meta]


def _buffers(meta: Meta) -> Meta:
    """Of `simple_shot`, which keeps a mean beside the network's own buffers."""
    return meta._replace(buffers=meta.buffers["model"])


_WHOLE = Place(whole, lambda meta, part: part)
_PARAMS = Place(
    encoder,
    lambda meta, part: part._replace(params=meta.params | {"model": part.params}),
)
_BESIDE = Place(
    _buffers,
    lambda meta, part: Meta(part.params, meta.buffers | {"model": part.buffers}),
)
EMBEDDINGS: Mapping[str, Place] = {
    "protonet": _WHOLE,
    "baseline_plus_plus": _WHOLE,
    "logistic_regression": _WHOLE,
    "matching_network": _PARAMS,
    "metaoptnet": _PARAMS,
    "r2d2": _PARAMS,
    "tip_adapter": _PARAMS,
    "simple_shot": _BESIDE,
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
