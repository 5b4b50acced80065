"""Training: an experiment in, a run folder out; stopped runs are continued."""

import contextlib
import dataclasses
import datetime
import shlex
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import jaxmeta
from jaxmeta.core import Meta
from jaxmeta.runs import checkpoints, folder, keys, loop
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.errors import ConfigError, RunError, explain, out_of_memory
from jaxmeta.runs.experiment import Experiment, finished, tested
from jaxmeta.runs.files import expanded, write_json
from jaxmeta.runs.fingerprint import differences, fingerprint
from jaxmeta.runs.folder import RunFolder
from jaxmeta.runs.fork import forked
from jaxmeta.runs.job import Job, abstract_state, build
from jaxmeta.runs.making import Made, make, options_of
from jaxmeta.runs.registry import Recipe
from jaxmeta.runs.results import headline, make_result
from jaxmeta.runs.settings import OUTER, USUAL, Settings, check
from jaxmeta.runs.stop import Interrupted, Stop
from jaxmeta.runs.tracker import check_tracker, open_tracker
from jaxmeta.runs.warm import Warm, line, warm_start, warmed
from jaxmeta.runs.writer import Writer
from jaxmeta.tasks import class_names
from jaxmeta.tasks.names import is_task

Say = Callable[[str], None]


def train(
    experiment: Experiment | Recipe,
    *,
    out: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    say: Say = print,
    **settings: Any,
) -> Path:
    """Trains an experiment, tests it, and leaves a run folder.

    If the folder holds an unfinished run of the same experiment, that run is continued,
    bit for bit as if it had not been stopped. A finished one is left as it is. An
    `Experiment` that was made in Python is not kept in the folder: to continue it, make
    it again.

    Args:
      experiment: what to run, or a recipe that makes it.
      out: the run folder; `None` is runs/<name>-<n>.
      options: of the recipe.
      say: takes a line for the user.
      **settings: the fields of `Settings`.

    Returns:
      The run folder.

    Raises:
      ConfigError: bad input, before anything is compiled.
      RunError: the run cannot go on.
      Interrupted: SIGINT or SIGTERM, after a checkpoint was saved.

    >>> import optax, jaxmeta as jm
    >>> task = jm.tasks.glyphs(5, 1, 5, size=8)
    >>> learner = jm.protonet(jm.models.mlp(None))
    >>> mine = Experiment(learner, jm.runs.Tasks(task, task, task), optax.adam(1e-3))
    >>> train(mine, out="runs/mine", steps=100)  # doctest: +SKIP
    """
    for name in settings:
        if name not in {f.name for f in dataclasses.fields(Settings)}:
            raise ConfigError(name, "an unknown setting", "a field of jm.runs.Settings")
    if isinstance(experiment, Recipe):  # its schedules follow its own steps
        there = options_of(experiment, options or {}, None).options
        shared = [name for name in OUTER if name in settings and name in there]
        options = {n: settings.pop(n) for n in shared} | dict(options or {})
    made = as_made(experiment, options)
    chosen = Settings(**settings, out=None if out is None else str(out))
    return train_made(made, chosen, say)


def as_made(
    experiment: Experiment | Recipe, options: Mapping[str, Any] | None = None
) -> Made:
    """An experiment with what is known of how it was made."""
    if isinstance(experiment, Recipe):
        return make(experiment, options or {})
    if options:
        raise ConfigError("options", options, "none: the experiment has been made")
    name = "experiment"
    recipe = Recipe(name, lambda: experiment, "", {"python": name}, {})
    return Made(experiment, recipe, {})


def train_made(made: Made, settings: Settings, say: Say = print) -> Path:
    """`train`, for an experiment whose making is known."""
    # filled before it is kept: another version's defaults must not continue this run
    settings = check(settings.filled(made.experiment.defaults))
    where = folder.open_folder(made, settings)
    result = folder.read_result(where)
    if result is not None:
        say(f"{where.path}: finished already; {headline(result)}")
        return where.path
    check_tracker(settings.track)
    job = build(made, settings)
    new = not where.path.exists()
    where = folder.claim(made, settings)
    try:
        return _run(job, where, say)
    except ConfigError:  # of a run to start from: nothing has been written
        if new:
            with contextlib.suppress(OSError):  # but what is not empty
                where.path.rmdir()
        raise
    except (OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
        if not isinstance(error, OSError) and not out_of_memory(error):
            raise
        safe = f"what was saved is whole; {_again(made, where)}"
        if not checkpoints.steps(where.checkpoints):
            safe = "nothing of the run was saved"
        raise RunError(f"{where.path}: {explain(error)}; {safe}") from error


def _again(made: Made, where: RunFolder) -> str:
    """How a run that was stopped goes on."""
    if "python" in made.recipe.origin:
        return "the same call continues it"
    asked = (made.recipe.origin, *made.options.values())
    files = [f"{o['file']}:{o['function']}" for o in asked if _is_file(o)]
    command = shlex.join(["jaxmeta", "train", str(where.path), *files])
    return f"{command} continues it"


def _is_file(origin: Any) -> bool:
    return isinstance(origin, dict) and "file" in origin


def _run(job: Job, where: RunFolder, say: Say) -> Path:
    settings, started = job.settings, time.perf_counter()
    with (
        Stop() as stop,
        Writer(where.checkpoints) as writer,
        contextlib.ExitStack() as stack,
    ):
        if where.path.is_dir():
            stack.enter_context(folder.held(where))
        if settings.out is not None:
            folder.open_folder(job.made, settings)  # it may have been begun meanwhile
        shapes = like(job)
        snapshot = checkpoints.restore(where.checkpoints, shapes)
        warm = warm_start(job) if settings.warm_start and snapshot is None else None
        start = snapshot or (forked(job) if settings.fork else None)
        folder.create(where, job.made, settings, jaxmeta.__version__)
        snapshot = _start(job, where, start, warm, say)
        metrics = folder.Metrics(where.metrics)
        lost = max((row["step"] for row in metrics.read()), default=0)
        if settings.fork and not where.metrics.exists():
            metrics.copy(RunFolder(expanded(settings.fork)).metrics)
        metrics.rewind(step := int(snapshot.state.step))
        if start is None and step < lost:
            warnings.warn(
                f"{where.path}: an earlier attempt got to step {lost} and there is no "
                "checkpoint of it; it starts again",
                stacklevel=2,
            )
        config = job.made.options | dataclasses.asdict(settings)
        tracker = open_tracker(where, config, metrics, step, settings.track)
        stack.enter_context(contextlib.closing(tracker))
        spent = snapshot.info["wall_seconds"]

        def save(step: int, snapshot: Snapshot) -> None:
            wall = spent + time.perf_counter() - started
            info = {**snapshot.info, "wall_seconds": round(wall, 3)}
            writer.save(step, snapshot._replace(info=info))

        def last() -> Snapshot:
            writer.wait()
            saved = checkpoints.restore(where.checkpoints, shapes)
            return _fresh(job, warm) if saved is None else saved

        events = loop.Events(
            tracker.log, save, lambda: stop.signal is not None, last, say
        )
        if start is not None and not where.checkpoints.exists():
            save(int(start.state.step), start)  # a fork stands on its own from here
        snapshot = loop.run(job, snapshot, events)
        writer.wait()
        if stop.signal is not None:
            step = int(snapshot.state.step)
            saved = f"{where.path}: stopped and saved at step {step} of {job.steps}"
            raise Interrupted(f"{saved}; {_again(job.made, where)}", stop.status)
    return _finish(job, where, snapshot, spent - started, say)


def _finish(
    job: Job, where: RunFolder, snapshot: Snapshot, began: float, say: Say
) -> Path:
    """Tests what was trained and writes what came of it."""
    meta, step = chosen(job, snapshot)
    episodes = job.settings.episodes or USUAL["episodes"]
    say(f"testing on {episodes} episodes ...")
    task, key = tested(job.experiment.tasks), keys.test()
    found = loop.score(job, meta, task, key, episodes, bar=True)
    wall = began + time.perf_counter()
    done = finished(job.experiment, meta, key, keys.drawing(), found)
    result = make_result(job, done, snapshot.info, step, wall)
    say("writing the report ...")
    # The report first: a run with a result is finished, and is not looked at again.
    from jaxmeta.report import write_report  # Matplotlib is slow to import

    rows = folder.Metrics(where.metrics).read()
    settings = dataclasses.asdict(job.settings)
    pictures = job.experiment.pictures
    write_report(where.report, done, pictures, result, rows, job.made.options, settings)
    write_json(where.result, result)
    say(f"{where.path}: {headline(result)}")
    say(f"{where.report}")
    return where.path


def chosen(job: Job, snapshot: Snapshot) -> tuple[Meta, int]:
    """The parameters to test, and the step they are from."""
    best = snapshot.info["best"]
    if job.keep and best is not None:
        return snapshot.best, best["step"]
    return snapshot.state.meta, int(snapshot.state.step)


def like(job: Job):
    """Shapes of what a checkpoint of this run holds."""
    state = abstract_state(job)
    return state, state.meta if job.keep else ()


def _start(
    job: Job,
    where: RunFolder,
    snapshot: Snapshot | None,
    warm: Warm | None,
    say: Say,
) -> Snapshot:
    """The newest whole checkpoint, or the state before the first step."""
    now = fingerprint()
    if snapshot is not None:
        then = snapshot.info["fingerprint"]
        for difference in differences(then, now):
            if job.settings.strict:
                raise ConfigError(
                    "strict", difference, "the fingerprint the run was started with"
                )
            warnings.warn(
                f"{where.path}: continued elsewhere, bits may differ ({difference})",
                stacklevel=3,
            )
        say(f"{where.path}: continued from step {int(snapshot.state.step)}")
        return snapshot
    what = job.experiment.title or job.made.recipe.name
    say(f"{where.path}: {what}, {job.steps} steps")
    tasks = job.experiment.tasks
    names = class_names(tasks.train) if is_task(tasks.train) else None
    if names is not None and is_task(tasks.val) and names == class_names(tasks.val):
        say(
            f"{where.path}: validation draws from the {len(names)} classes that are "
            "trained on; the test is of others"
        )
    if warm is not None:
        say(f"{where.path}: {line(warm)}")
    return _fresh(job, warm)


def _fresh(job: Job, warm: Warm | None) -> Snapshot:
    """The state before the first step."""
    root = keys.root(job.settings.seed)
    key = keys.init(root)
    # It runs once: of LLVM's effort nothing comes back, and it takes long over the short
    # axes of random kernels.
    fresh = job.start.lower(key).compile({"xla_backend_optimization_level": 1})(key)
    if warm is not None:
        fresh = warmed(job, fresh, warm)
    best = jax.tree.map(jnp.copy, fresh.meta) if job.keep else ()
    info = {
        "best": None,
        "train_seconds": 0.0,
        "compile_seconds": 0.0,
        "wall_seconds": 0.0,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "recipe": job.made.recipe.name,
        "fingerprint": fingerprint(),
        **({} if warm is None else {"warm_start": warm.info}),
    }
    return Snapshot(fresh, best, root, info)
