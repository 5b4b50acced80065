"""Experiment and settings -> trainer. All checks are made before anything compiles."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax

from jaxmeta import train
from jaxmeta.core import Key, Meta, MetaLearner
from jaxmeta.runs.devices import make_mesh
from jaxmeta.runs.errors import ConfigError, one_line
from jaxmeta.runs.experiment import Experiment, HostBatches, tested
from jaxmeta.runs.kinds import check_type
from jaxmeta.runs.making import Made
from jaxmeta.runs.settings import OUTER, USUAL, Settings, check, check_least
from jaxmeta.tasks.names import is_task
from jaxmeta.train.predictions import answering
from jaxmeta.train.trainer import Trainer, TrainState


class Job(NamedTuple):
    """What a run does, built.

    Attributes:
      made: the experiment, and how it was made.
      settings: with the experiment's defaults.
      trainer: the outer loop.
      start: `key -> state` before the first step, one program; traced once for its shapes,
        for checks and for the run.
      keep: whether validation chooses the parameters.
    """

    made: Made
    settings: Settings
    trainer: Trainer
    start: Callable[[Key], TrainState]
    keep: bool

    @property
    def experiment(self) -> Experiment:
        return self.made.experiment

    @property
    def steps(self) -> int:
        return self.experiment.steps

    @property
    def batch(self) -> int:
        return self.experiment.batch

    @property
    def chunk(self) -> int:
        """Outer steps in one compiled call."""
        return self.settings.chunk or USUAL["chunk"]

    @property
    def tester(self) -> MetaLearner | None:
        return self.experiment.tester or self.experiment.learner


def build(made: Made, settings: Settings, *, init: bool = True) -> Job:
    """Builds a run, or says in one line what is wrong with it.

    Args:
      made: the experiment.
      settings: how to go about it; its `steps` and `batch` win over the experiment's.
      init: whether the state's shapes are checked at once.

    Returns:
      A `Job`; nothing has been compiled.

    Raises:
      ConfigError: settings and an experiment that do not fit.
    """
    experiment = made.experiment
    settings = check(settings.filled(experiment.defaults))
    own = {n: getattr(settings, n) for n in OUTER}
    experiment = experiment._replace(**{n: v for n, v in own.items() if v is not None})
    made = made._replace(experiment=experiment)
    for name in OUTER:
        check_type(name, getattr(experiment, name), int)
        check_least(name, getattr(experiment, name))
    if settings.task_chunk and experiment.batch % settings.task_chunk:
        wants = f"a divisor of batch = {experiment.batch}"
        raise ConfigError("task_chunk", settings.task_chunk, wants)
    if settings.devices > 1 and isinstance(experiment.tasks.train, HostBatches):
        raise ConfigError("devices", settings.devices, "1 with batches from the host")
    keep = settings.keep == "best" and experiment.tasks.val is not None
    trainer = make_trainer(experiment, settings)
    start = jax.jit(functools.partial(_state, trainer, experiment))
    job = Job(made, settings, trainer, start, keep)
    if init:
        abstract_state(job)
    return job


def make_trainer(experiment: Experiment, settings: Settings) -> Trainer:
    """The outer loop, with what it does about numbers that are not finite."""
    skip = settings.on_nonfinite == "skip_task"
    gradients = experiment.objective
    if gradients is None:
        if experiment.learner is None:
            raise ConfigError("learner", "None", "a learner, or an objective")
        episodic = train.skip_nonfinite if skip else train.episodic
        gradients = episodic(
            experiment.learner,
            chunk=settings.task_chunk,
            exact=settings.exact,
            mesh=make_mesh(settings.devices, experiment.batch),
            together=experiment.together and not settings.exact,
            platform=jax.devices()[0].platform,  # a run is compiled where it runs
        )
    trainer = train.make_trainer(gradients, experiment.outer)
    if experiment.start is not None:
        trainer = _from(trainer, experiment.start, experiment)
    return train.hold_nonfinite(trainer, advance=skip)


def _from(trainer: Trainer, start: Meta, experiment: Experiment) -> Trainer:
    """A trainer whose parameters are given."""

    def init(key: Key, batch):
        state = trainer.init(key, batch)
        shapes = jax.tree.map(jax.numpy.shape, (state.meta, start))
        if shapes[0] != shapes[1]:
            raise ValueError(
                "start: got parameters of another network than the learner's"
            )
        opt_state = experiment.outer.init(start.params)
        return state._replace(meta=start, opt_state=opt_state)

    return trainer._replace(init=init)


def _state(trainer: Trainer, experiment: Experiment, key: Key) -> TrainState:
    """The state before the first step; shapes come from one draw."""
    making, drawing = jax.random.split(key)
    task = experiment.tasks.train
    if isinstance(task, HostBatches):
        return trainer.init(making, task.batch(0))
    return trainer.init(making, train.sample_batch(task, drawing, 1))


def abstract_state(job: Job) -> TrainState:
    """Shapes and types of the state. Checks the test's shapes too; runs nothing."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        state = jax.eval_shape(job.start, key)
        task = tested(job.experiment.tasks)
        tester = job.tester
        if job.experiment.judge is None and tester is not None and is_task(task):

            def predict(state, key):
                drawing, adapting = jax.random.split(key)
                answer = answering(tester)  # what is traced here serves the test
                return answer(state.meta, task(drawing), adapting)

            jax.eval_shape(predict, state, key)
    except ValueError as error:
        if "package" not in job.made.recipe.origin:
            raise  # of the user's own code, where Python says it best
        raise ConfigError(
            "model", job.made.recipe.name, f"a fit: {one_line(error)}"
        ) from error
    return state
