"""`jaxmeta train`: a recipe in, a run folder out; stopped runs are continued."""

import contextlib
import datetime
import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

import jaxmeta
from jaxmeta.core import Meta
from jaxmeta.runs import adaptation, checkpoints, folder, keys, loop
from jaxmeta.runs.build import Job, abstract_state, build, init_state
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.errors import ConfigError, RunError, explain, out_of_memory
from jaxmeta.runs.files import write_json
from jaxmeta.runs.fingerprint import differences, fingerprint
from jaxmeta.runs.folder import RunFolder
from jaxmeta.runs.fork import forked
from jaxmeta.runs.instances import instances
from jaxmeta.runs.recipes import Recipe
from jaxmeta.runs.report import write_report
from jaxmeta.runs.stop import Interrupted, Stop
from jaxmeta.runs.tracker import check_tracker, open_tracker
from jaxmeta.runs.writer import Writer
from jaxmeta.tasks import class_names
from jaxmeta.train import Evaluation, interval

Say = Callable[[str], None]


def train(recipe: Recipe, *, say: Say = print) -> Path:
    """Trains a recipe, tests it, and leaves a run folder.

    If the folder holds an unfinished run of the same recipe, that run is continued,
    bit for bit as if it had not been stopped. A finished one is left as it is.

    Args:
      recipe: what to run.
      say: takes a line for the user.

    Returns:
      The run folder.

    Raises:
      ConfigError: bad input, before anything is compiled.
      RunError: the run cannot go on.
      Interrupted: SIGINT or SIGTERM, after a checkpoint was saved.
    """
    where = folder.open_folder(recipe)
    result = folder.read_result(where)
    if result is not None:
        say(f"{where.path}: finished already; {headline(result)}")
        return where.path
    check_tracker(recipe)
    job = build(recipe)
    try:
        return _run(job, where, say)
    except (OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        if not isinstance(error, OSError) and not out_of_memory(error):
            raise
        safe = "what was saved is whole, and the same command continues the run"
        if not checkpoints.steps(where.checkpoints):
            safe = "nothing of the run was saved"
        raise RunError(f"{where.path}: {explain(error)}; {safe}") from error


def _run(job: Job, where: RunFolder, say: Say) -> Path:
    recipe, started = job.recipe, time.perf_counter()
    with (
        Stop() as stop,
        Writer(where.checkpoints) as writer,
        contextlib.ExitStack() as stack,
    ):
        like = _like(job)
        snapshot = checkpoints.restore(where.checkpoints, like)
        start = snapshot or (forked(job) if recipe.fork else None)
        folder.create(where, recipe, jaxmeta.__version__)
        snapshot = _start(job, where, start, say)
        metrics = folder.Metrics(where.metrics)
        lost = max((row["step"] for row in metrics.read()), default=0)
        if recipe.fork and not where.metrics.exists():
            metrics.copy(RunFolder(Path(recipe.fork).expanduser()).metrics)
        metrics.rewind(step := int(snapshot.state.step))
        if start is None and step < lost:
            warnings.warn(
                f"{where.path}: an earlier attempt got to step {lost} and there is no "
                "checkpoint of it; it starts again",
                stacklevel=2,
            )
        tracker = open_tracker(where, recipe, metrics, step)
        stack.enter_context(contextlib.closing(tracker))
        spent = snapshot.info["wall_seconds"]

        def save(step: int, snapshot: Snapshot) -> None:
            wall = spent + time.perf_counter() - started
            info = {**snapshot.info, "wall_seconds": round(wall, 3)}
            writer.save(step, snapshot._replace(info=info))

        def last() -> Snapshot:
            writer.wait()
            saved = checkpoints.restore(where.checkpoints, like)
            return _fresh(job) if saved is None else saved

        events = loop.Events(tracker.log, save, lambda: stop.signal is not None, last)
        if start is not None and not where.checkpoints.exists():
            save(int(start.state.step), start)  # a fork stands on its own from here
        snapshot = loop.run(job, snapshot, events)
        writer.wait()
        if stop.signal is not None:
            step = int(snapshot.state.step)
            saved = f"{where.path}: stopped and saved at step {step} of {recipe.steps}"
            raise Interrupted(f"{saved}; --out {where.path} continues it", stop.status)
    meta, step = chosen(recipe, snapshot)
    found = loop.score(job, meta, job.tasks.test, keys.test(), recipe.episodes)
    wall = spent + time.perf_counter() - started
    result = make_result(job, found, snapshot.info, step, wall) | instances(job, meta)
    # The report first: a run with a result is finished, and is not looked at again.
    write_report(where, job, meta, result)
    write_json(where.result, result)
    say(f"{where.path}: {headline(result)}")
    say(f"{where.report}")
    return where.path


def chosen(recipe: Recipe, snapshot: Snapshot) -> tuple[Meta, int]:
    """The parameters to test, and the step they are from."""
    best = snapshot.info["best"]
    if recipe.keep == "best" and best is not None:
        return snapshot.best, best["step"]
    return snapshot.state.meta, int(snapshot.state.step)


def _like(job: Job):
    """Shapes of what a checkpoint of this run holds."""
    state = abstract_state(job)
    return state, state.meta if job.recipe.keep == "best" else ()


def _start(job: Job, where: RunFolder, snapshot: Snapshot | None, say: Say) -> Snapshot:
    """The newest whole checkpoint, or a fresh state."""
    now = fingerprint()
    if snapshot is not None:
        then = snapshot.info["fingerprint"]
        for difference in differences(then, now):
            if job.recipe.strict:
                raise ConfigError(
                    "strict", difference, "the fingerprint the run was started with"
                )
            warnings.warn(
                f"{where.path}: continued elsewhere, bits may differ ({difference})",
                stacklevel=3,
            )
        say(f"{where.path}: continued from step {int(snapshot.state.step)}")
        return snapshot
    say(f"{where.path}: {job.recipe.name}, {job.recipe.steps} steps")
    names = class_names(job.tasks.train)
    if names is not None and names == class_names(job.tasks.val):
        say(
            f"{where.path}: few classes, so validation draws from the {len(names)} that "
            "are trained on; the test is of others"
        )
    return _fresh(job)


def _fresh(job: Job) -> Snapshot:
    """The state before the first step."""
    root = keys.root(job.recipe.seed)
    fresh = jax.jit(lambda key: init_state(job, key))(keys.init(root))
    best = jax.tree.map(jnp.copy, fresh.meta) if job.recipe.keep == "best" else ()
    info = {
        "best": None,
        "train_seconds": 0.0,
        "compile_seconds": 0.0,
        "wall_seconds": 0.0,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "recipe": job.recipe.name,
        "fingerprint": fingerprint(),
    }
    return Snapshot(fresh, best, root, info)


def make_result(
    job: Job, found: Evaluation, info: dict, step: int, wall: float
) -> dict[str, object]:
    """What result.json holds."""
    recipe = job.recipe
    trained = recipe.steps * recipe.tasks
    return {
        "recipe": recipe.name,
        "learner": recipe.learner,
        found.metric: _number(found.mean),
        "ci95": _number(found.ci95),
        "episodes": found.episodes,
        "ways": recipe.ways,
        "shots": recipe.shots,
        "queries": recipe.queries,
        "seed": recipe.seed,
        "steps": recipe.steps,
        "tasks": recipe.tasks,
        "transductive": found.transductive,
        **beliefs(found),
        "dataset": recipe.dataset,
        "split": recipe.split if recipe.dataset == "omniglot" else None,
        **adaptation.facts(recipe),
        "kept": recipe.keep,
        "kept_step": step,
        "validation": info["best"],
        "tasks_per_second": round(trained / max(info["train_seconds"], 1e-9), 2),
        "train_seconds": round(info["train_seconds"], 2),
        "compile_seconds": round(info["compile_seconds"], 2),
        "wall_seconds": round(wall, 2),
        "started": info["started"],
        **{k: info[k] for k in ("forked_from", "rollbacks") if k in info},
        "version": jaxmeta.__version__,
        "fingerprint": fingerprint(),
    }


def beliefs(found: Evaluation) -> dict[str, object]:
    """What result.json holds of a learner that says how sure it is."""
    if found.nll is None:
        return {}
    values = {
        "nll": found.nll,
        "nll_ci95": interval(found.nlls)[1],
        "log_likelihood": -found.nll,
        "entropy": found.entropy,
        "ece": found.ece,
        "coverage": found.coverage,  # of the central 90 % band, in regression
    }
    return {name: value for name, value in values.items() if value is not None}


def _number(value: float) -> float | None:
    """A number as JSON knows it, which has no NaN."""
    return value if math.isfinite(value) else None


def headline(result: dict) -> str:
    """`accuracy 98.12 % ± 0.20 (5-way 1-shot, 600 episodes, transductive)`."""
    metric = "accuracy" if "accuracy" in result else "mse"
    if result[metric] is None:
        return f"{metric} nan: outputs are not finite ({result['episodes']} episodes)"
    if "accuracy" in result:
        value = (
            f"accuracy {100 * result['accuracy']:.2f} % ± {100 * result['ci95']:.2f}"
        )
        task = f"{result['ways']}-way {result['shots']}-shot"
        task = result.get("domains", task)
    else:
        value = f"mse {result['mse']:.4f} ± {result['ci95']:.4f}"
        task = f"{result['shots']}-shot"
    unknown = ", transductive or not is unknown"
    word = {True: ", transductive", False: "", None: unknown}[result["transductive"]]
    return f"{value} ({task}, {result['episodes']} episodes{word})"
