"""A run folder, back in Python."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from jaxmeta.core import Meta, MetaLearner
from jaxmeta.runs import checkpoints, folder
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.experiment import Experiment
from jaxmeta.runs.files import expanded
from jaxmeta.runs.folder import Config, RunFolder
from jaxmeta.runs.job import Job, build
from jaxmeta.runs.making import Made, from_json, make, options_of, without_data
from jaxmeta.runs.registry import Files, Recipe, of_reference
from jaxmeta.runs.training import as_made, chosen, like


class Run:
    """A trained run: its experiment, its parameters, its result.

    Attributes:
      path: the folder.
      config: what config.json says.
      job: the experiment and its settings, built.
    """

    def __init__(self, path: Path, config: Config, job: Job):
        self.path, self.config, self.job = path, config, job

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.experiment.title or self.name!r})"

    @property
    def name(self) -> str:
        """Of the recipe."""
        return self.job.made.recipe.name

    @property
    def experiment(self) -> Experiment:
        return self.job.experiment

    @property
    def learner(self) -> MetaLearner:
        """As it is tested: `run.learner.adapt(run.meta, support, key)`.

        Raises:
          ValueError: an experiment without one (reinforcement learning, say).
        """
        learner = self.job.tester
        if learner is None:
            raise ValueError(f"learner: got none, {self.path} has an objective alone")
        return learner

    @property
    def meta(self) -> Meta:
        """The parameters that validation has chosen, or the last ones."""
        return self._chosen[0]

    @property
    def step(self) -> int:
        """The outer step that `meta` is from."""
        return self._chosen[1]

    @property
    def result(self) -> dict[str, Any] | None:
        """What result.json says; `None` for a run that is not finished."""
        return folder.read_result(RunFolder(self.path))

    @property
    def metrics(self) -> list[dict[str, float]]:
        """The lines of metrics.jsonl."""
        return folder.Metrics(RunFolder(self.path).metrics).read()

    @cached_property
    def snapshot(self) -> Snapshot:
        """The newest whole checkpoint."""
        where = RunFolder(self.path)
        found = checkpoints.restore(where.checkpoints, like(self.job))
        if found is None:
            raise RunError(f"{self.path}: has no checkpoint yet, train it first")
        return found

    @cached_property
    def _chosen(self) -> tuple[Meta, int]:
        return chosen(self.job, self.snapshot)

    def again(self, options: Mapping[str, Any], files: Files | None = None) -> "Run":
        """The same parameters, with other options of the recipe: `{"ways": 20}`.

        Raises:
          ConfigError: an option that is not there, or one with which the parameters no
            longer fit.
        """
        recipe, files = self.job.made.recipe, files or Files()
        return load(self.path, recipe, files=files, options=options)


def load(
    path: str | Path,
    experiment: Experiment | Recipe | Callable[..., Experiment] | None = None,
    *,
    files: Files | None = None,
    data: bool = True,
    options: Mapping[str, Any] | None = None,
) -> Run:
    """Opens a run folder.

    Args:
      path: the folder that `train` wrote.
      experiment: what was run, where it did not come from a recipe of the package: the
        `Experiment`, or the function of one's own file that made it. No code is run
        because a folder names it.
      files: the same for the command line.
      data: whether to read the data; without, tasks are of the right shapes and empty,
        where a recipe can do that.
      options: other options of the recipe than those it was trained with: see
        `Run.again`.

    Returns:
      A `Run`, on one device; its parameters are read when they are asked for.

    Raises:
      ConfigError: no run, one of another version, or one that needs `experiment`;
        options with which the trained parameters do not fit.

    >>> run = load("runs/sensors-1", sensors)  # doctest: +SKIP
    >>> run.learner, run.meta, run.result["accuracy"]  # doctest: +SKIP
    """
    path = expanded(path)
    config = folder.read_config(path)
    changed = dict(options or {})
    made = _made(config, experiment, files or Files(), data, changed)
    settings = config.settings.having(devices=1)
    if not changed:
        return Run(path, config, build(made, settings, init=False))
    try:
        run = Run(path, config, build(made, settings))
        _ = run.snapshot
    except (RunError, ConfigError) as error:
        said = ", ".join(f"{k} = {v}" for k, v in changed.items())
        wants = f"options with which the trained parameters fit ({error})"
        raise ConfigError("options", said, wants) from error
    return run


def _made(config: Config, experiment, files: Files, data: bool, changed: dict) -> Made:
    if isinstance(experiment, Experiment):
        return as_made(experiment, changed)
    if experiment is not None:
        recipe = experiment
        if not isinstance(recipe, Recipe):
            name = getattr(recipe, "__name__", "experiment")
            recipe = Recipe(name, recipe, "", config.recipe, {})
    else:
        recipe = of_reference(config.recipe, files)
    options = _again(recipe, from_json(config.options, files), changed, files)
    if data:
        return make(recipe, options, files)
    try:
        with without_data():
            return make(recipe, options, files)
    except ConfigError as error:
        if error.field != "data":
            raise
        return make(recipe, options, files)  # a recipe that cannot do without them


def _again(recipe: Recipe, kept: dict, changed: dict, files: Files) -> dict[str, Any]:
    """Options of a run, others in their place; what only a part had that goes, goes."""
    options = kept | changed
    before = options_of(recipe, kept, files).options if changed else {}
    gone = {
        name
        for name, option in before.items()
        if option.one_of and name in changed and changed[name] != kept.get(name)
    }
    if not gone:
        return options
    now = options_of(recipe, options, files).options
    left = {k for k, o in before.items() if o.owner in gone and k not in now}
    return {k: v for k, v in options.items() if k in changed or k not in left}
