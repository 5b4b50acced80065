"""`jaxmeta evaluate`: a trained run on more test episodes."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from jaxmeta.runs import checkpoints, folder, keys, loop
from jaxmeta.runs.build import Job, abstract_state, build
from jaxmeta.runs.errors import RunError
from jaxmeta.runs.files import write_json
from jaxmeta.runs.folder import RunFolder
from jaxmeta.runs.train import chosen, headline, make_result


def load_snapshot(where: RunFolder, job: Job) -> checkpoints.Snapshot:
    """The newest whole checkpoint of a run."""
    state = abstract_state(job)
    like = (state, state.meta if job.recipe.keep == "best" else ())
    snapshot = checkpoints.restore(where.checkpoints, like)
    if snapshot is None:
        raise RunError(f"{where.path}: has no checkpoint yet, train it first")
    return snapshot


def evaluate(
    path: Path,
    episodes: int,
    data: str | None = None,
    *,
    say: Callable[[str], None] = print,
) -> Path:
    """Tests a run and writes evaluation-<episodes>.json beside its result.

    Args:
      path: the run folder.
      episodes: test episodes; the first are those of result.json.
      data: the folder with the data, if it has moved.
      say: takes a line for the user.

    Returns:
      The file.

    Raises:
      ConfigError: no run, or its data are gone.
      RunError: a run without a whole checkpoint.
    """
    started = time.perf_counter()
    recipe = folder.read_config(path)
    job = build(recipe if data is None else dataclasses.replace(recipe, data=data))
    snapshot = load_snapshot(RunFolder(path), job)
    meta, step = chosen(recipe, snapshot)
    found = loop.score(job, meta, job.tasks.test, keys.test(), episodes)
    wall = time.perf_counter() - started
    result = make_result(job, found, snapshot.info, step, wall)
    file = path / f"evaluation-{episodes}.json"
    write_json(file, result)
    say(f"{headline(result)}")
    return file
