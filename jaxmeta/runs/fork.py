"""`--fork RUN`: another run that starts where an old one is."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxmeta.runs import checkpoints, folder, keys
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.files import expanded
from jaxmeta.runs.folder import RunFolder
from jaxmeta.runs.job import Job, abstract_state

# What may change and leave the validations of the old run those of the new one.
_SAME_VALIDATION = {f.name for f in dataclasses.fields(folder.Settings)}
_SAME_VALIDATION -= {"validate_episodes"}


def source(option: str, run: str | None) -> tuple[Path, folder.Config]:
    """The folder of another run, and what it says of itself.

    Raises:
      ConfigError: there is none, about the option that names it.
    """
    path = expanded(run or "")
    try:
        return path, folder.read_config(path)
    except ConfigError as error:
        raise ConfigError(option, error.got, error.wants) from error


def forked(job: Job) -> Snapshot:
    """The newest checkpoint of the run at `settings.fork`, as the start of this one.

    Parameters, buffers, optimiser and step are those of the old run; so is the root key,
    unless the seed is another one. With no setting changed, the fork goes on as the old
    run would have. Its best parameters so far are those of the old run where no option
    of the recipe has changed: another option may be another validation.

    Raises:
      ConfigError: no run, no checkpoint, or one that does not fit these settings.
    """
    settings = job.settings
    path, old = source("fork", settings.fork)
    try:
        state = abstract_state(job)
        kept = old.settings.keep == "best" and job.experiment.tasks.val is not None
        like = (state, state.meta if kept else ())
        snapshot = checkpoints.restore(RunFolder(path).checkpoints, like, own=False)
    except RunError as error:
        raise ConfigError("fork", settings.fork, f"a run that fits: {error}") from error
    if snapshot is None:
        raise ConfigError("fork", settings.fork, "a run that has saved a checkpoint")
    step = int(snapshot.state.step)
    if step >= job.steps:
        raise ConfigError(
            "steps", job.steps, f"more than {step}, where {settings.fork} is"
        )
    same_seed = settings.seed == old.settings.seed
    key = snapshot.key if same_seed else keys.root(settings.seed)
    info = {
        **snapshot.info,
        "recipe": job.made.recipe.name,
        "forked_from": {"run": str(settings.fork), "step": step},
    }
    was = old.options | dataclasses.asdict(old.settings)
    now = job.made.options | dataclasses.asdict(settings)
    changed = {name for name in {**was, **now} if was.get(name) != now.get(name)}
    best = snapshot.best
    if not job.keep:
        best, info["best"] = (), None
    elif not kept or not changed <= _SAME_VALIDATION:
        best, info["best"] = jax.tree.map(jnp.copy, snapshot.state.meta), None
    return Snapshot(snapshot.state, best, key, info)
