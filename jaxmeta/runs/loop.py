"""The long loop: Python over compiled chunks of outer steps."""

import math
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec
from tqdm import tqdm

from jaxmeta import train
from jaxmeta.core import Meta, Task
from jaxmeta.runs import keys, nonfinite
from jaxmeta.runs.build import Job
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.devices import gather, make_mesh, spread
from jaxmeta.runs.errors import RunError
from jaxmeta.train import Evaluation, Trainer, TrainState


class Events(NamedTuple):
    """What the loop calls between chunks.

    Attributes:
      row: a line of metrics.
      save: a snapshot, when one is due and at the end.
      stopping: whether to save and leave.
      restore: the last snapshot that was saved, from the disk.
    """

    row: Callable[[dict], None]
    save: Callable[[int, Snapshot], None]
    stopping: Callable[[], bool]
    restore: Callable[[], Snapshot]


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


def compile_chunk(job: Job, state: TrainState, key: jax.Array):
    """Compiles `(state, task, key, last) -> (state, metrics)`; the state is donated.

    Returns:
      `(function, seconds)`.
    """
    recipe = job.recipe
    steps, left = min(recipe.chunk, recipe.steps), recipe.steps - int(state.step)

    mesh = make_mesh(recipe)

    def chunk(state, task, key, last):
        # a continued run's chunks start where they would have; a fork's need not
        whole = left % steps == 0 and recipe.on_nonfinite != "rollback"
        trainer = job.trainer if whole else until(job.trainer, last)
        return train.fit(trainer, task, state, key, steps=steps, batch=recipe.tasks)

    start = time.perf_counter()
    last = jnp.asarray(recipe.steps, jnp.int32)
    rest = spread((job.tasks.train, key, last), mesh)
    everywhere = None if mesh is None else NamedSharding(mesh, PartitionSpec())
    jitted = jax.jit(chunk, donate_argnums=0, out_shardings=everywhere)
    compiled = jitted.lower(spread(state, mesh), *rest).compile()
    seconds = time.perf_counter() - start
    return lambda state: compiled(spread(state, mesh), *rest), seconds


def score(
    job: Job, meta: Meta, task: Task, key: jax.Array, episodes: int
) -> Evaluation:
    """Evaluates parameters as the recipe tests them."""
    mesh = make_mesh(job.recipe)
    return train.evaluate(
        job.tester,
        gather(meta, mesh),
        task,
        key,
        episodes=episodes,
        chunk=side_by_side(job, episodes),
        predictive=job.predictive,
        mesh=mesh,
    )


def side_by_side(job: Job, episodes: int) -> int:
    """Episodes evaluated together: 1 for images on a CPU, where it is fastest."""
    if jax.default_backend() == "cpu" and job.recipe.model != "mlp":
        return 1
    return max(size for size in range(1, 65) if episodes % size == 0)


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
    recipe = job.recipe
    state, best, key, info = snapshot
    step = int(state.step)
    validate_every = _period(recipe.validate_every, recipe.steps)
    save_every = _period(recipe.checkpoint_every, recipe.steps)
    chunk, seconds = compile_chunk(job, state, key)
    info = {**info, "compile_seconds": info["compile_seconds"] + seconds}
    if step == 0 and validate_every:
        events.row({"step": 0, **_validate(job, state.meta)})
    bar = tqdm(
        total=recipe.steps, initial=step, unit="step", disable=not sys.stderr.isatty()
    )
    with bar:
        while step < recipe.steps and not events.stopping():
            start = time.perf_counter()
            state, metrics = chunk(state)
            taken = min(step + recipe.chunk, recipe.steps) - step
            means, held = nonfinite.means(metrics, taken)
            if held is not None and recipe.on_nonfinite != "skip_task":
                text = nonfinite.explain_step(job, state, key)
                if recipe.on_nonfinite == "raise":
                    raise RunError(text)
                state, step, info = nonfinite.rolled_back(events.restore(), state, text)
                if step == recipe.steps:
                    events.save(step, Snapshot(state, best, key, info))
                continue
            if means is None:
                raise RunError(
                    f"loss: no task was finite in outer steps {step + 1} to "
                    f"{step + taken}; a lower rate or inner_rate may help"
                )
            seconds = time.perf_counter() - start
            rate = taken * recipe.tasks / seconds
            info = {**info, "train_seconds": info["train_seconds"] + seconds}
            before, step = step, step + taken
            row = {"step": step, **means, "tasks_per_second": round(rate, 2)}
            if _due(validate_every, before, step, recipe.steps):
                row |= _validate(job, state.meta)
                if recipe.keep == "best" and _better(row, info["best"]):
                    # A copy: the state's own arrays are given away to the next chunk.
                    best = jax.tree.map(jnp.copy, state.meta)
                    info = {**info, "best": _val_of(row)}
            events.row(row)
            bar.update(taken)
            bar.set_postfix_str(_postfix(row))
            if _due(save_every, before, step, recipe.steps):
                events.save(step, Snapshot(state, best, key, info))
    if events.stopping() and step < recipe.steps:
        events.save(step, Snapshot(state, best, key, info))
    return Snapshot(state, best, key, info)


def _period(every: int | None, steps: int) -> int:
    return max(1, steps // 10) if every is None else every


def _due(every: int, before: int, now: int, last: int) -> bool:
    """Whether a multiple of `every`, or the end, lies in (before, now]."""
    return bool(every) and (now // every > before // every or now == last)


def _validate(job: Job, meta: Meta) -> dict[str, float]:
    recipe = job.recipe
    if recipe.inner_alarm is not None:
        nonfinite.watch(job, meta)
    found = score(job, meta, job.tasks.val, keys.validation(), recipe.validate_episodes)
    return {f"val_{found.metric}": found.mean, "val_ci95": found.ci95}


def _val_of(row: dict) -> dict[str, float]:
    return {k: v for k, v in row.items() if k == "step" or k.startswith("val_")}


def _better(row: dict, best: dict | None) -> bool:
    """Whether a validation beats the best so far; a tie goes to the later step."""
    name = "val_mse" if "val_mse" in row else "val_accuracy"
    if not math.isfinite(row[name]):
        return False
    sign = -1 if name == "val_mse" else 1
    return best is None or sign * row[name] >= sign * best[name]


def _postfix(row: dict) -> str:
    names = {"loss": "loss", "accuracy": "acc", "mse": "mse"}
    parts = [f"{short} {row[name]:.3g}" for name, short in names.items() if name in row]
    return ", ".join([*parts, f"{row['tasks_per_second']:.0f} tasks/s"])
