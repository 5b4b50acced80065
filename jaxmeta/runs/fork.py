"""`--fork RUN`: another run that starts where an old one is."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxmeta.runs import checkpoints, folder, keys
from jaxmeta.runs.build import Job, abstract_state
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.folder import RunFolder

# With nothing else changed, the validations of the old run are those of the new one.
_SAME_VALIDATION = (
    *("name", "summary", "out", "fork", "steps", "tasks", "optimiser", "rate", "clip"),
    *("schedule", "halve_every", "episodes", "validate_every", "keep", "seed", "chunk"),
    *("task_chunk", "checkpoint_every", "strict", "exact"),
    *("on_nonfinite", "inner_alarm"),
)


def forked(job: Job) -> Snapshot:
    """The newest checkpoint of `recipe.fork`, as the start of this run.

    Parameters, buffers, optimiser and step are those of the old run; so is the root key,
    unless the seed is another one. With no setting changed, the fork goes on as the old
    run would have.

    Raises:
      ConfigError: no run, no checkpoint, or one that does not fit these settings.
    """
    recipe = job.recipe
    path = Path(recipe.fork or "").expanduser()
    try:
        old = folder.read_config(path)
    except ConfigError as error:
        raise ConfigError("fork", recipe.fork, f"a run folder: {error}") from error
    state = abstract_state(job)
    like = (state, state.meta if old.keep == "best" else ())
    try:
        snapshot = checkpoints.restore(RunFolder(path).checkpoints, like)
    except RunError as error:
        raise ConfigError("fork", recipe.fork, f"a run that fits: {error}") from error
    if snapshot is None:
        raise ConfigError("fork", recipe.fork, "a run that has saved a checkpoint")
    step = int(snapshot.state.step)
    if step >= recipe.steps:
        raise ConfigError(
            "steps", recipe.steps, f"more than {step}, where {recipe.fork} is"
        )
    key = snapshot.key if recipe.seed == old.seed else keys.root(recipe.seed)
    info = {
        **snapshot.info,
        "recipe": recipe.name,
        "forked_from": {"run": str(recipe.fork), "step": step},
    }
    was, now = dataclasses.asdict(old), dataclasses.asdict(recipe)
    changed = {name for name in now if was[name] != now[name]}
    best = snapshot.best
    if recipe.keep != "best":
        best, info["best"] = (), None
    elif old.keep != "best" or not changed <= {*_SAME_VALIDATION}:
        best, info["best"] = jax.tree.map(jnp.copy, snapshot.state.meta), None
    return Snapshot(snapshot.state, best, key, info)
