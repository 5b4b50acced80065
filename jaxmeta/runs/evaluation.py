"""Evaluation: a trained run on more test episodes, or on others."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxmeta.runs import keys, loop
from jaxmeta.runs.experiment import finished, tested
from jaxmeta.runs.files import write_json
from jaxmeta.runs.folder import read_config
from jaxmeta.runs.making import from_json, options_of
from jaxmeta.runs.options import Option
from jaxmeta.runs.registry import Files, of_reference
from jaxmeta.runs.results import headline, make_result
from jaxmeta.runs.run import Run, load


def evaluate(
    run: str | Path | Run,
    *,
    episodes: int = 10_000,
    options: Mapping[str, Any] | None = None,
    files: Files | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Tests a run on more episodes and writes evaluation-<...>.json beside its result.

    Args:
      run: the run, or its folder.
      episodes: test episodes; the first are those of result.json.
      options: other options of the recipe for the test: `{"ways": 20, "shots": 5}`,
        another `data`. The parameters must fit.
      files: see `load`.
      say: takes a line for the user.

    Returns:
      What was written: as result.json, with `changed`, the options.

    Raises:
      ConfigError: no run, data that are gone, or options that do not fit.
      RunError: a run without a whole checkpoint.
    """
    started = time.perf_counter()
    changed = dict(options or {})
    if isinstance(run, Run):
        opened = run.again(changed, files) if changed else run
    else:
        opened = load(run, files=files, options=changed)
    job, key = opened.job, keys.test()
    task = tested(job.experiment.tasks)
    say(f"{opened.path}: testing on {episodes} episodes ...")
    found = loop.score(job, opened.meta, task, key, episodes, bar=True)
    done = finished(job.experiment, opened.meta, key, keys.drawing(), found)
    wall = time.perf_counter() - started
    result = make_result(job, done, opened.snapshot.info, opened.step, wall)
    result["changed"] = {
        k: str(v) if isinstance(v, Path) else v for k, v in changed.items()
    }
    name = "-".join([str(episodes), *(f"{k}-{_word(v)}" for k, v in changed.items())])
    file = opened.path / f"evaluation-{name}.json"
    write_json(file, result)
    say(headline(result))
    say(str(file))
    return result


def reopened(path: Path, said: Mapping[str, Any], files: Files) -> dict[str, Option]:
    """The options that may be others for the test of a run: those of its recipe."""
    config = read_config(path)
    recipe = of_reference(config.recipe, files)
    known = {**from_json(config.options, files), **said}
    return options_of(recipe, known, files).options


def _word(value: Any) -> str:
    """A value as part of a file's name."""
    return "".join(
        c if c.isalnum() or c in "._" else "-" for c in Path(str(value)).name
    )
