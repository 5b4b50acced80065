"""jaxmeta: meta-learning in JAX. Four pure functions of one task; `jax.vmap` does the rest."""

from typing import TYPE_CHECKING

from jaxmeta.lazily import lazily

if TYPE_CHECKING:
    from jaxmeta import convolution as convolution
    from jaxmeta import criteria as criteria
    from jaxmeta import data as data
    from jaxmeta import estimators as estimators
    from jaxmeta import functional as functional
    from jaxmeta import gradients as gradients
    from jaxmeta import learners as learners
    from jaxmeta import losses as losses
    from jaxmeta import metrics as metrics
    from jaxmeta import models as models
    from jaxmeta import recipes as recipes
    from jaxmeta import report as report
    from jaxmeta import rl as rl
    from jaxmeta import rules as rules
    from jaxmeta import runs as runs
    from jaxmeta import tasks as tasks
    from jaxmeta import testing as testing
    from jaxmeta import train as train
    from jaxmeta import transfer as transfer
    from jaxmeta import tree as tree
    from jaxmeta.core import Aux as Aux
    from jaxmeta.core import Batch as Batch
    from jaxmeta.core import Criterion as Criterion
    from jaxmeta.core import Episode as Episode
    from jaxmeta.core import Meta as Meta
    from jaxmeta.core import MetaLearner as MetaLearner
    from jaxmeta.core import Model as Model
    from jaxmeta.core import Objective as Objective
    from jaxmeta.core import Pictures as Pictures
    from jaxmeta.core import Rule as Rule
    from jaxmeta.core import Task as Task
    from jaxmeta.gradients import argmin as argmin
    from jaxmeta.learners import anil as anil
    from jaxmeta.learners import anml as anml
    from jaxmeta.learners import baseline_plus_plus as baseline_plus_plus
    from jaxmeta.learners import bmaml as bmaml
    from jaxmeta.learners import boil as boil
    from jaxmeta.learners import cavia as cavia
    from jaxmeta.learners import cnp as cnp
    from jaxmeta.learners import conv_cnp as conv_cnp
    from jaxmeta.learners import imaml as imaml
    from jaxmeta.learners import logistic_regression as logistic_regression
    from jaxmeta.learners import lstm_meta_learner as lstm_meta_learner
    from jaxmeta.learners import maml as maml
    from jaxmeta.learners import maml_plus_plus as maml_plus_plus
    from jaxmeta.learners import mann as mann
    from jaxmeta.learners import matching_network as matching_network
    from jaxmeta.learners import meta_curvature as meta_curvature
    from jaxmeta.learners import meta_gan as meta_gan
    from jaxmeta.learners import meta_sgd as meta_sgd
    from jaxmeta.learners import meta_transfer as meta_transfer
    from jaxmeta.learners import metaoptnet as metaoptnet
    from jaxmeta.learners import multi_step_weights as multi_step_weights
    from jaxmeta.learners import np as np
    from jaxmeta.learners import oml as oml
    from jaxmeta.learners import online_maml as online_maml
    from jaxmeta.learners import platipus as platipus
    from jaxmeta.learners import prior_fitted_network as prior_fitted_network
    from jaxmeta.learners import proto_maml as proto_maml
    from jaxmeta.learners import protonet as protonet
    from jaxmeta.learners import r2d2 as r2d2
    from jaxmeta.learners import relation_network as relation_network
    from jaxmeta.learners import reptile as reptile
    from jaxmeta.learners import simple_shot as simple_shot
    from jaxmeta.learners import snail as snail
    from jaxmeta.learners import tip_adapter as tip_adapter
    from jaxmeta.learners import tnp as tnp
    from jaxmeta.train import Evaluation as Evaluation
    from jaxmeta.train import Trainer as Trainer
    from jaxmeta.train import TrainState as TrainState
    from jaxmeta.train import episodic as episodic
    from jaxmeta.train import evaluate as evaluate
    from jaxmeta.train import fit as fit
    from jaxmeta.train import from_loss as from_loss
    from jaxmeta.train import make_trainer as make_trainer
    from jaxmeta.train import meta_gradient as meta_gradient

__getattr__, __dir__ = lazily(__name__, __file__)

__version__ = "0.2.0"
