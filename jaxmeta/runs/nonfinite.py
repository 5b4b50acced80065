"""A run whose numbers are no longer finite: where it began, and what is done about it."""

import warnings

import jax
import numpy as np

from jaxmeta import train, tree
from jaxmeta.core import Episode, Meta
from jaxmeta.runs import keys
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.errors import RunError
from jaxmeta.runs.experiment import HostBatches
from jaxmeta.runs.job import Job
from jaxmeta.tasks import class_names, episode_classes
from jaxmeta.train import TrainState

ROLLBACKS = 20
"""A run that goes back more often than this has another problem."""
_WATCHED = 4  # tasks that the inner alarm looks at
_HELD = "the step was not taken"
_HELP = "a lower rate or inner_rate, or clip, may help"


def means(metrics: dict, taken: int) -> tuple[dict | None, int | None]:
    """The mean of each metric over the steps of a chunk that were taken.

    Returns:
      `(means, held)`: the first step that was held, if any; with nothing but held steps
      the means are `None`.
    """
    arrays = {name: np.asarray(value)[:taken] for name, value in metrics.items()}
    held = arrays.pop("held") > 0
    first = int(held.argmax()) if held.any() else None
    if held.all():
        return None, first
    found = {k: round(float(v[~held].mean()), 6) for k, v in arrays.items()}
    if first is not None:
        found["held"] = int(held.sum())
    return found, first


def explain_step(job: Job, state: TrainState, root: jax.Array) -> str:
    """Which task of the coming outer step is not finite, and where it begins.

    Args:
      job: the run.
      state: from before the step.
      root: the run's root key.

    Returns:
      One line: step, task, classes, inner step, leaf.
    """
    step, learner = int(state.step), job.experiment.learner
    task = job.experiment.tasks.train
    if learner is None or job.experiment.objective or isinstance(task, HostBatches):
        return (
            f"loss: got a number that is not finite at outer step {step + 1}; the step "
            f"was not taken; {_HELP}"
        )
    sampling, learning = jax.random.split(jax.random.fold_in(root, step))
    draws = jax.random.split(sampling, job.batch)
    learns = jax.random.split(learning, job.batch)

    @jax.jit
    def gradient(meta: Meta, episode: Episode, key):
        def loss(params):
            return learner.loss(meta._replace(params=params), episode, key)[0]

        return jax.value_and_grad(loss)(meta.params)

    for i, (draw, learn) in enumerate(zip(draws, learns, strict=True)):
        episode = task(draw)
        value, grads = gradient(state.meta, episode, learn)
        leaf = _first_bad(grads)
        if leaf is None and np.isfinite(value):
            continue
        text = f"loss: got {float(value)} at outer step {step + 1}, task {i}"
        text += _classes(job, draw) + _inner(job, state.meta, episode, learn)
        odd = [
            name
            for name, part in (("support", episode.support), ("query", episode.query))
            if _first_bad((part.inputs, part.targets)) is not None
        ]
        if odd:  # no rate helps there
            return f"{text}: its {' and '.join(odd)} examples hold NaN or infinity; {_HELD}"
        bad = f"the gradient of {leaf} is not finite" if leaf else "a finite gradient"
        return f"{text}, {bad}; {_HELD}; {_HELP}"
    return (
        f"loss: every task of outer step {step + 1} is finite and their mean or the "
        f"update is not; the step was not taken; {_HELP}"
    )


def rolled_back(
    snapshot: Snapshot, state: TrainState, text: str
) -> tuple[TrainState, int, dict]:
    """The last checkpoint's parameters and optimiser, at the step after the bad one."""
    step = int(state.step) + 1
    times = snapshot.info.get("rollbacks", 0) + 1
    if times > ROLLBACKS:
        raise RunError(f"{text}; rolled back {ROLLBACKS} times already")
    warnings.warn(
        f"{text}; rolled back to step {int(snapshot.state.step)}, on with step {step + 1}",
        stacklevel=2,
    )
    moved = snapshot.state._replace(step=jax.numpy.asarray(step, state.step.dtype))
    return moved, step, {**snapshot.info, "rollbacks": times}


def watch(job: Job, meta: Meta) -> None:
    """Warns of inner loops that make things worse."""
    alarm, task = job.settings.inner_alarm, job.experiment.tasks.train
    if job.experiment.at_steps is None or alarm is None:
        return
    for i, key in enumerate(jax.random.split(keys.drawing(), _WATCHED)):
        for seen in _trace(job, meta, task(key), key):
            if seen.alarming(alarm):
                warnings.warn(
                    f"the inner loop diverges on training task {i}: {seen}; "
                    f"alarm at {alarm}",
                    stacklevel=2,
                )
                return


def _trace(job: Job, meta: Meta, episode: Episode, key) -> list[train.InnerStep]:
    at, steps = job.experiment.at_steps, job.experiment.inner_steps
    assert at is not None and steps is not None
    return train.inner_steps(at, meta, episode, key, steps=steps[0])


def _inner(job: Job, meta: Meta, episode: Episode, key) -> str:
    if job.experiment.at_steps is None or job.experiment.inner_steps is None:
        return ""
    try:
        seen = _trace(job, meta, episode, key)
    except ValueError:  # a learner that does not take every number of steps
        return ""
    if seen and not seen[-1].finite:
        return f", inner step {seen[-1].step} ({seen[-1].leaf})"
    return f", after inner step {job.experiment.inner_steps[0]} (all of them finite)"


def _classes(job: Job, draw: jax.Array) -> str:
    task = job.experiment.tasks.train
    numbers = episode_classes(task, draw)
    if numbers is None:
        return ""
    names = class_names(task) or ()
    return f" (classes {', '.join(names[int(i)] for i in numbers if i >= 0)})"


def _first_bad(grads) -> str | None:
    names = tree.leaves(tree.paths(grads))
    for name, leaf in zip(names, tree.leaves(grads), strict=True):
        if not np.isfinite(np.asarray(leaf)).all():
            return name
    return None
