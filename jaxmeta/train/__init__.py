"""The outer loop: objectives, trainer, evaluation."""

from jaxmeta.train.evaluate import Evaluation as Evaluation
from jaxmeta.train.evaluate import evaluate as evaluate
from jaxmeta.train.evaluate import interval as interval
from jaxmeta.train.evaluate import predictions as predictions
from jaxmeta.train.evaluate import query_dependence as query_dependence
from jaxmeta.train.objective import episodic as episodic
from jaxmeta.train.objective import from_loss as from_loss
from jaxmeta.train.objective import meta_gradient as meta_gradient
from jaxmeta.train.trainer import Trainer as Trainer
from jaxmeta.train.trainer import TrainState as TrainState
from jaxmeta.train.trainer import fit as fit
from jaxmeta.train.trainer import make_trainer as make_trainer
from jaxmeta.train.trainer import sample_batch as sample_batch
