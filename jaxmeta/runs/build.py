"""Recipe -> learner, tasks, trainer. All checks are made before anything compiles."""

from typing import NamedTuple

import jax
import optax

from jaxmeta import criteria, learners, train
from jaxmeta.core import Key, Meta, MetaLearner
from jaxmeta.learners.meta_gan import players
from jaxmeta.learners.probabilistic import Believe
from jaxmeta.runs import adaptation
from jaxmeta.runs.adaptation import ADAPTATION
from jaxmeta.runs.check import check
from jaxmeta.runs.devices import make_mesh
from jaxmeta.runs.errors import ConfigError, did_you_mean, one_line
from jaxmeta.runs.methods import METHODS as METHODS
from jaxmeta.runs.methods import Options, make_inner, make_net
from jaxmeta.runs.probabilistic import believe
from jaxmeta.runs.recipes import Recipe
from jaxmeta.runs.sources import SOURCES, Tasks, make_tasks, train_sizes
from jaxmeta.train.trainer import Trainer, TrainState


class Job(NamedTuple):
    """A recipe, built.

    Attributes:
      recipe: what it was built from.
      learner: for training.
      tester: for validation and test: the same `Meta`, its own number of inner steps.
      tasks: to train on, to choose by, to test on.
      trainer: the outer loop.
      predictive: what the tester believes, `None` where its outputs do not say.
    """

    recipe: Recipe
    learner: MetaLearner
    tester: MetaLearner
    tasks: Tasks
    trainer: Trainer
    predictive: Believe | None = None


def build(recipe: Recipe, tasks: Tasks | None = None) -> Job:
    """Builds a recipe, or says in one line what is wrong with it.

    Args:
      recipe: any recipe.
      tasks: what it names, read from its data; `blank_tasks` where no data are needed.

    Returns:
      A `Job`; nothing has been compiled.

    Raises:
      ConfigError: a bad field, or data that do not suffice.
    """
    check(recipe)
    _check_combination(recipe)
    if tasks is None and recipe.learner in ADAPTATION:
        tasks = Tasks(*adaptation.make_tasks(recipe))
    tasks = make_tasks(recipe) if tasks is None else tasks
    ways, shots, _ = train_sizes(recipe)
    learner = make_learner(recipe, recipe.inner_steps, ways, ways * shots)
    trainer = make_trainer(recipe, learner)
    tester = make_tester(recipe)
    believed = make_predictive(recipe, tester)
    job = Job(recipe, learner, tester, tasks, trainer, believed)
    try:
        abstract_state(job)
    except ValueError as error:
        raise ConfigError("model", recipe.model, f"a fit: {one_line(error)}") from error
    return job


def make_tester(
    recipe: Recipe,
    steps: int | None = None,
    ways: int | None = None,
    support: int | None = None,
) -> MetaLearner:
    """The learner as it is tested, with its own number of inner steps.

    Args:
      recipe: a checked recipe.
      steps: inner steps; by default the recipe's, for the test.
      ways: classes; by default the recipe's.
      support: support examples; by default the recipe's.

    Returns:
      A learner for the same `Meta`. Zero steps are MAML's, whatever the learner: no
      adaptation.
    """
    if steps is None:
        steps = recipe.eval_inner_steps
        steps = recipe.inner_steps if steps is None else steps
    ways = recipe.ways if ways is None else ways
    support = ways * recipe.shots if support is None else support
    return make_learner(recipe, steps, ways, support)


def make_options(recipe: Recipe, steps: int, ways: int, support: int) -> Options:
    """What a method is built with."""
    regression = SOURCES[recipe.dataset].regression
    batch = recipe.inner_batch and min(recipe.inner_batch, support)
    criterion = criteria.regression if regression else criteria.classification
    return Options(1 if regression else ways, steps, batch, criterion)


def make_predictive(recipe: Recipe, tester: MetaLearner) -> Believe | None:
    """What the tester of a recipe believes about its queries."""
    options = make_options(recipe, 1, recipe.ways, recipe.ways * recipe.shots)
    return believe(make_net(recipe), recipe, options, tester)


def make_learner(recipe: Recipe, steps: int, ways: int, support: int) -> MetaLearner:
    """The learner of a recipe for `steps` inner steps and `support` examples."""
    options = make_options(recipe, steps, ways, support)
    method = METHODS[recipe.learner]
    if steps == 0 and recipe.learner in ("reptile", "imaml"):
        return learners.maml(
            make_net(recipe)(options.outputs),
            make_inner(recipe),
            steps=0,
            criterion=options.criterion,
        )
    if steps == 0 and recipe.learner == "lstm_meta_learner":
        one = method.make(make_net(recipe), recipe, options._replace(steps=1))
        return one._replace(
            adapt=lambda meta, *_: Meta(meta.params["model"], meta.buffers)
        )
    return method.make(make_net(recipe), recipe, options)


def make_trainer(recipe: Recipe, learner: MetaLearner) -> Trainer:
    """The outer loop, with what it does about numbers that are not finite."""
    skip = recipe.on_nonfinite == "skip_task"
    objective = train.skip_nonfinite if skip else train.episodic
    if recipe.learner in ADAPTATION:
        method = adaptation.make_method(recipe)
        gradients = train.from_loss(method.init, method.loss)
    else:
        gradients = objective(
            learner,
            chunk=recipe.task_chunk,
            exact=recipe.exact,
            mesh=make_mesh(recipe),
            together=METHODS[recipe.learner].together and not recipe.exact,
        )
    trainer = train.make_trainer(gradients, make_outer(recipe))
    return train.hold_nonfinite(trainer, advance=skip)


def make_outer(recipe: Recipe) -> optax.GradientTransformation:
    """The outer optimiser: clipping, Adam or SGD, a falling rate."""
    schedules = {
        "constant": lambda: optax.constant_schedule(recipe.rate),
        "cosine": lambda: optax.cosine_decay_schedule(recipe.rate, recipe.steps),
        "linear": lambda: optax.linear_schedule(recipe.rate, 0.0, recipe.steps),
        "halving": lambda: optax.exponential_decay(
            recipe.rate, recipe.halve_every, 0.5, staircase=True
        ),
    }
    optimiser = {"adam": optax.adam, "sgd": optax.sgd}[recipe.optimiser]
    tx = optimiser(schedules[recipe.schedule]())
    if recipe.learner == "meta_gan":
        # the players of a game want rates of their own, and little momentum
        ratio = recipe.generator_rate / recipe.rate
        second = optax.adam(
            lambda step: ratio * schedules[recipe.schedule]()(step), b1=0.5
        )
        tx = optax.partition({"discriminator": tx, "generator": second}, players)
    return (
        optax.chain(optax.clip_by_global_norm(recipe.clip), tx) if recipe.clip else tx
    )


def init_state(job: Job, key: Key) -> TrainState:
    """The state before the first step; shapes come from one training task."""
    making, drawing = jax.random.split(key)
    return job.trainer.init(making, train.sample_batch(job.tasks.train, drawing, 1))


def abstract_state(job: Job) -> TrainState:
    """Shapes and types of the state. Checks the test's shapes too; runs nothing."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(lambda key: init_state(job, key), key)
    jax.eval_shape(lambda state, key: _predict(job, state, key), state, key)
    return state


def _predict(job: Job, state: TrainState, key: Key):
    drawing, adapting = jax.random.split(key)
    return train.predictions(job.tester, state.meta, job.tasks.test(drawing), adapting)


def _check_combination(recipe: Recipe) -> None:
    """What is wrong with two fields together."""
    if recipe.learner not in METHODS:
        hint = did_you_mean(recipe.learner, METHODS)
        wants = f"one of {', '.join(METHODS)}{hint}"
        raise ConfigError("learner", repr(recipe.learner), wants)
    method, source = METHODS[recipe.learner], SOURCES[recipe.dataset]
    if (recipe.learner in ADAPTATION) != (recipe.dataset == "amazon"):
        wants = f"one of {', '.join(ADAPTATION)} with amazon, another without"
        raise ConfigError("learner", f"{recipe.learner} on {recipe.dataset}", wants)
    if source.regression and not method.regression:
        raise ConfigError(
            "learner", recipe.learner, f"one that can do regression on {recipe.dataset}"
        )
    if not source.images and recipe.model == "conv4":
        raise ConfigError("model", recipe.model, f"mlp: {recipe.dataset} has no images")
    if recipe.model == "conv4" and recipe.downsample == "pool" and recipe.size < 16:
        wants = "an integer >= 16: conv4 halves the image four times"
        raise ConfigError("size", recipe.size, wants)
    ways = train_sizes(recipe)[0]
    if method.head and not source.regression and ways != recipe.ways:
        raise ConfigError(
            "train_ways", ways, f"{recipe.ways}: the head of {recipe.learner} is fixed"
        )
    if recipe.inner_steps < 1 and recipe.learner in ("reptile", "lstm_meta_learner"):
        raise ConfigError("inner_steps", recipe.inner_steps, "an integer >= 1")
    if recipe.learner == "lstm_meta_learner" and recipe.inner_rate >= 1:
        raise ConfigError("inner_rate", recipe.inner_rate, "below 1, as a gate is")
    if recipe.task_chunk and recipe.tasks % recipe.task_chunk:
        raise ConfigError(
            "task_chunk", recipe.task_chunk, f"a divisor of tasks = {recipe.tasks}"
        )
