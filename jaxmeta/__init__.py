"""jaxmeta: meta-learning in JAX. Four pure functions of one task; `jax.vmap` does the rest."""

from jaxmeta import data as data
from jaxmeta import functional as functional
from jaxmeta import learners as learners
from jaxmeta import losses as losses
from jaxmeta import metrics as metrics
from jaxmeta import models as models
from jaxmeta import rules as rules
from jaxmeta import tasks as tasks
from jaxmeta import testing as testing
from jaxmeta import train as train
from jaxmeta import tree as tree
from jaxmeta.core import Aux as Aux
from jaxmeta.core import Batch as Batch
from jaxmeta.core import Episode as Episode
from jaxmeta.core import Meta as Meta
from jaxmeta.core import MetaLearner as MetaLearner
from jaxmeta.core import Model as Model
from jaxmeta.core import Objective as Objective
from jaxmeta.core import Rule as Rule
from jaxmeta.core import Task as Task
from jaxmeta.learners import anil as anil
from jaxmeta.learners import maml as maml
from jaxmeta.learners import protonet as protonet
from jaxmeta.learners import reptile as reptile
from jaxmeta.train import Evaluation as Evaluation
from jaxmeta.train import Trainer as Trainer
from jaxmeta.train import TrainState as TrainState
from jaxmeta.train import episodic as episodic
from jaxmeta.train import evaluate as evaluate
from jaxmeta.train import fit as fit
from jaxmeta.train import from_loss as from_loss
from jaxmeta.train import make_trainer as make_trainer
from jaxmeta.train import meta_gradient as meta_gradient

__version__ = "0.1.0"
