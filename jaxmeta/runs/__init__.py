"""The runner: an experiment in, a run folder out, and back in Python."""

from jaxmeta.report.finished import Finished as Finished
from jaxmeta.runs.errors import ConfigError as ConfigError
from jaxmeta.runs.errors import RunError as RunError
from jaxmeta.runs.evaluate import evaluate as evaluate
from jaxmeta.runs.experiment import Experiment as Experiment
from jaxmeta.runs.experiment import HostBatches as HostBatches
from jaxmeta.runs.experiment import Tasks as Tasks
from jaxmeta.runs.options import OneOf as OneOf
from jaxmeta.runs.options import use as use
from jaxmeta.runs.recipe import Made as Made
from jaxmeta.runs.recipe import Recipe as Recipe
from jaxmeta.runs.recipe import preset as preset
from jaxmeta.runs.recipe import recipe as recipe
from jaxmeta.runs.run import Run as Run
from jaxmeta.runs.run import load as load
from jaxmeta.runs.settings import Settings as Settings
from jaxmeta.runs.stop import Interrupted as Interrupted
from jaxmeta.runs.train import train as train
