"""The long loop: Python over compiled chunks of outer steps."""

import math
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec
from tqdm import tqdm

from jaxmeta import train
from jaxmeta.core import Key, Meta
from jaxmeta.criteria import as_criterion
from jaxmeta.runs import keys, nonfinite
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.devices import gather, make_mesh, spread
from jaxmeta.runs.errors import RunError
from jaxmeta.runs.experiment import HostBatches
from jaxmeta.runs.job import Job
from jaxmeta.runs.settings import USUAL
from jaxmeta.tasks.names import as_partial
from jaxmeta.train import Evaluation, Trainer, TrainState


class Events(NamedTuple):
    """What the loop calls between chunks.

    Attributes:
      row: a line of metrics.
      save: a snapshot, when one is due and at the end.
      stopping: whether to save and leave.
      restore: the last snapshot that was saved, from the disk.
      say: a line for the user.
    """

    row: Callable[[dict], None]
    save: Callable[[int, Snapshot], None]
    stopping: Callable[[], bool]
    restore: Callable[[], Snapshot]
    say: Callable[[str], None]


def until(trainer: Trainer, last: jax.Array) -> Trainer:
    """A trainer that stands still from step `last` on.

    A last, shorter chunk then runs in the program that is already compiled.
    """

    def step(state: TrainState, batch, key):
        def go(_):
            return trainer.step(state, batch, key)

        shapes = jax.eval_shape(go, None)[1]

        def stay(_):
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            return state, zeros

        return lax.cond(state.step < last, go, stay, None)

    return trainer._replace(step=step)


def compile_chunk(job: Job, state: TrainState, key: Key):
    """Compiles `(state) -> (state, metrics)` for a chunk; the state is donated.

    Returns:
      `(function, seconds)`.
    """
    if isinstance(job.experiment.tasks.train, HostBatches):
        return _compile_step(job, state, key)
    chunk_, steps_ = job.chunk, job.steps
    steps, left = min(chunk_, steps_), steps_ - int(state.step)
    mesh = make_mesh(job.settings.devices, job.batch)

    def chunk(state, task, key, last):
        # a continued run's chunks start where they would have; a fork's need not
        whole = left % steps == 0 and job.settings.on_nonfinite != "rollback"
        trainer = job.trainer if whole else until(job.trainer, last)
        return train.fit(trainer, task, state, key, steps=steps, batch=job.batch)

    start = time.perf_counter()
    last = jnp.asarray(job.steps, jnp.int32)
    task = as_partial(job.experiment.tasks.train)
    rest = spread((task, key, last), mesh)
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    jitted = jax.jit(chunk, donate_argnums=0, out_shardings=everywhere)
    compiled = jitted.lower(spread(state, mesh), *rest).compile()
    seconds = time.perf_counter() - start
    return lambda state: compiled(spread(state, mesh), *rest), seconds


def _compile_step(job: Job, state: TrainState, key: Key):
    """The same for batches that are made on the host, one after another."""
    host = job.experiment.tasks.train

    def step(state, batch, key):
        learning = jax.random.split(jax.random.fold_in(key, state.step))[1]
        return job.trainer.step(state, batch, learning)

    start = time.perf_counter()
    jitted = jax.jit(step, donate_argnums=0)
    compiled = jitted.lower(state, host.batch(0), key).compile()

    def chunk(state):
        first, rows = int(state.step), []
        for t in range(first, min(first + job.chunk, job.steps)):
            state, metrics = compiled(state, host.batch(t), key)
            rows.append(metrics)
        return state, {k: np.stack([row[k] for row in rows]) for k in rows[0]}

    return chunk, time.perf_counter() - start


def score(
    job: Job, meta: Meta, task: Any, key: Key, episodes: int, bar: bool = False
) -> Evaluation:
    """Evaluates parameters as the experiment tests them, with a bar on a terminal."""
    mesh = make_mesh(job.settings.devices, job.batch)
    experiment = job.experiment
    meta = gather(meta, mesh)
    if experiment.judge is not None:
        return experiment.judge(meta, task, key, episodes)
    tester = job.tester
    if tester is None:
        raise RunError("judge: got None, wants one where there is no learner")
    hide = not (bar and sys.stderr.isatty())
    # in parts with a bar or without: what is found must not depend on who looks on
    with tqdm(total=episodes, unit="episode", disable=hide, leave=False) as shown:
        return train.evaluate(
            tester,
            meta,
            task,
            key,
            episodes=episodes,
            chunk=experiment.chunk,
            predictive=experiment.predictive,
            mesh=mesh,
            told=shown.update,
        )


def run(job: Job, snapshot: Snapshot, events: Events) -> Snapshot:
    """Takes the outer steps that are left.

    Args:
      job: what to train.
      snapshot: where to start; its state is used up.
      events: called between chunks.

    Returns:
      The snapshot after the last step, or, if stopped, after the last whole chunk.

    Raises:
      RunError: the loss is not finite; its step was not taken.
    """
    settings = job.settings
    state, best, key, info = snapshot
    step = int(state.step)
    validates = job.experiment.tasks.val is not None
    validate_every = _period(settings.validate_every, job.steps) if validates else 0
    save_every = _period(settings.checkpoint_every, job.steps)
    if step < job.steps:
        events.say("compiling the outer step ...")
        chunk, seconds = compile_chunk(job, state, key)
        events.say(f"compiled in {seconds:.1f} s")
        info = {**info, "compile_seconds": info["compile_seconds"] + seconds}
    if step == 0 and validate_every:
        events.say("validating before the first step ...")
        events.row({"step": 0, **_validate(job, state.meta)})
    bar = tqdm(
        total=job.steps, initial=step, unit="step", disable=not sys.stderr.isatty()
    )
    with bar:
        while step < job.steps and not events.stopping():
            start = time.perf_counter()
            state, metrics = chunk(state)
            taken = min(step + job.chunk, job.steps) - step
            means, held = nonfinite.means(metrics, taken)
            if held is not None and settings.on_nonfinite != "skip_task":
                text = nonfinite.explain_step(job, state, key)
                if settings.on_nonfinite == "raise":
                    raise RunError(text)
                state, step, info = nonfinite.rolled_back(events.restore(), state, text)
                if step == job.steps:
                    events.save(step, Snapshot(state, best, key, info))
                continue
            if means is None:
                raise RunError(
                    f"loss: no task was finite in outer steps {step + 1} to "
                    f"{step + taken}; a lower rate or inner_rate may help"
                )
            seconds = time.perf_counter() - start
            rate = taken * job.batch / seconds
            info = {**info, "train_seconds": info["train_seconds"] + seconds}
            before, step = step, step + taken
            row = {"step": step, **means, "tasks_per_second": round(rate, 2)}
            if _due(validate_every, before, step, job.steps):
                row |= _validate(job, state.meta)
                if job.keep and _better(job, row, info["best"]):
                    # A copy: the state's own arrays are given away to the next chunk.
                    best = jax.tree.map(jnp.copy, state.meta)
                    info = {**info, "best": _val_of(row)}
            events.row(row)
            bar.update(taken)
            bar.set_postfix_str(_postfix(row))
            if _due(save_every, before, step, job.steps):
                events.save(step, Snapshot(state, best, key, info))
    if events.stopping() and step < job.steps:
        events.save(step, Snapshot(state, best, key, info))
    return Snapshot(state, best, key, info)


def _period(every: int | None, steps: int) -> int:
    return max(1, steps // 10) if every is None else every


def _due(every: int, before: int, now: int, last: int) -> bool:
    """Whether a multiple of `every`, or the end, lies in (before, now]."""
    return bool(every) and (now // every > before // every or now == last)


def _validate(job: Job, meta: Meta) -> dict[str, float]:
    settings = job.settings
    if settings.inner_alarm is not None:
        nonfinite.watch(job, meta)
    tasks = job.experiment.tasks
    episodes = settings.validate_episodes or USUAL["validate_episodes"]
    found = score(job, meta, tasks.val, keys.validation(), episodes)
    return {f"val_{found.metric}": found.mean, "val_ci95": found.ci95}


def _val_of(row: dict) -> dict[str, float]:
    return {k: v for k, v in row.items() if k == "step" or k.startswith("val_")}


def _better(job: Job, row: dict, best: dict | None) -> bool:
    """Whether a validation beats the best so far; a tie goes to the later step."""
    name = next(k for k in row if k.startswith("val_") and k != "val_ci95")
    if not math.isfinite(row[name]):
        return False
    tester = job.tester
    low = tester is not None and as_criterion(tester.criterion).best == "min"
    sign = -1 if low else 1
    return best is None or sign * row[name] >= sign * best[name]


def _postfix(row: dict) -> str:
    names = {"loss": "loss", "accuracy": "acc", "mse": "mse"}
    parts = [f"{short} {row[name]:.3g}" for name, short in names.items() if name in row]
    return ", ".join([*parts, f"{row['tasks_per_second']:.0f} tasks/s"])
