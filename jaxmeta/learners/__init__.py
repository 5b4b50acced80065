"""Meta-learning methods: one file each, readable beside its paper."""

from collections.abc import Callable

from jaxmeta.core import MetaLearner
from jaxmeta.learners.baseline_plus_plus import baseline_plus_plus as baseline_plus_plus
from jaxmeta.learners.bmaml import bmaml as bmaml
from jaxmeta.learners.cavia import cavia as cavia
from jaxmeta.learners.cnp import cnp as cnp
from jaxmeta.learners.imaml import imaml as imaml
from jaxmeta.learners.logistic_regression import (
    logistic_regression as logistic_regression,
)
from jaxmeta.learners.lstm_meta_learner import lstm_meta_learner as lstm_meta_learner
from jaxmeta.learners.maml import anil as anil
from jaxmeta.learners.maml import boil as boil
from jaxmeta.learners.maml import maml as maml
from jaxmeta.learners.maml_plus_plus import maml_plus_plus as maml_plus_plus
from jaxmeta.learners.maml_plus_plus import multi_step_weights as multi_step_weights
from jaxmeta.learners.mann import mann as mann
from jaxmeta.learners.matching_network import matching_network as matching_network
from jaxmeta.learners.meta_curvature import meta_curvature as meta_curvature
from jaxmeta.learners.meta_gan import meta_gan as meta_gan
from jaxmeta.learners.meta_sgd import meta_sgd as meta_sgd
from jaxmeta.learners.meta_transfer import meta_transfer as meta_transfer
from jaxmeta.learners.metaoptnet import metaoptnet as metaoptnet
from jaxmeta.learners.online import anml as anml
from jaxmeta.learners.online import oml as oml
from jaxmeta.learners.online import online_maml as online_maml
from jaxmeta.learners.padded import learner_of as learner_of
from jaxmeta.learners.platipus import platipus as platipus
from jaxmeta.learners.proto_maml import proto_maml as proto_maml
from jaxmeta.learners.protonet import protonet as protonet
from jaxmeta.learners.r2d2 import lrd2 as lrd2
from jaxmeta.learners.r2d2 import r2d2 as r2d2
from jaxmeta.learners.relation_network import relation_network as relation_network
from jaxmeta.learners.reptile import reptile as reptile
from jaxmeta.learners.simple_shot import simple_shot as simple_shot
from jaxmeta.learners.snail import snail as snail
from jaxmeta.learners.tip_adapter import tip_adapter as tip_adapter

LEARNERS: dict[str, Callable[..., MetaLearner]] = {
    "maml": maml,
    "anil": anil,
    "boil": boil,
    "meta_sgd": meta_sgd,
    "meta_curvature": meta_curvature,
    "maml_plus_plus": maml_plus_plus,
    "cavia": cavia,
    "imaml": imaml,
    "proto_maml": proto_maml,
    "meta_transfer": meta_transfer,
    "reptile": reptile,
    "protonet": protonet,
    "matching_network": matching_network,
    "relation_network": relation_network,
    "r2d2": r2d2,
    "metaoptnet": metaoptnet,
    "baseline_plus_plus": baseline_plus_plus,
    "simple_shot": simple_shot,
    "logistic_regression": logistic_regression,
    "tip_adapter": tip_adapter,
    "cnp": cnp,
    "mann": mann,
    "snail": snail,
    "lstm_meta_learner": lstm_meta_learner,
    "platipus": platipus,
    "bmaml": bmaml,
    "meta_gan": meta_gan,
    "oml": oml,
    "online_maml": online_maml,
    "anml": anml,
}
"""Every method by name; the contract test and the command line read this table."""
