"""Meta-learning methods: one file each, readable beside its paper."""

from collections.abc import Callable

from jaxmeta.core import MetaLearner
from jaxmeta.learners.maml import anil as anil
from jaxmeta.learners.maml import maml as maml
from jaxmeta.learners.protonet import protonet as protonet
from jaxmeta.learners.reptile import reptile as reptile

LEARNERS: dict[str, Callable[..., MetaLearner]] = {
    "maml": maml,
    "anil": anil,
    "reptile": reptile,
    "protonet": protonet,
}
"""Every method by name; the contract test and the command line read this table."""
