"""The runner: an experiment in, a run folder out, and back in Python."""

from typing import TYPE_CHECKING

from jaxmeta.lazily import lazily

if TYPE_CHECKING:
    from jaxmeta.report.finished import Finished as Finished
    from jaxmeta.runs.answers import Prediction as Prediction
    from jaxmeta.runs.comparison import compare as compare
    from jaxmeta.runs.errors import ConfigError as ConfigError
    from jaxmeta.runs.errors import RunError as RunError
    from jaxmeta.runs.evaluation import evaluate as evaluate
    from jaxmeta.runs.experiment import Experiment as Experiment
    from jaxmeta.runs.experiment import HostBatches as HostBatches
    from jaxmeta.runs.experiment import Tasks as Tasks
    from jaxmeta.runs.options import OneOf as OneOf
    from jaxmeta.runs.options import use as use
    from jaxmeta.runs.reader import Read as Read
    from jaxmeta.runs.reader import Reader as Reader
    from jaxmeta.runs.reader import images as images
    from jaxmeta.runs.registry import Recipe as Recipe
    from jaxmeta.runs.registry import preset as preset
    from jaxmeta.runs.registry import recipe as recipe
    from jaxmeta.runs.run import Run as Run
    from jaxmeta.runs.run import load as load
    from jaxmeta.runs.settings import Settings as Settings
    from jaxmeta.runs.stop import Interrupted as Interrupted
    from jaxmeta.runs.training import train as train

__getattr__, __dir__ = lazily(__name__, __file__)
