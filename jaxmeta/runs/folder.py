"""The run folder: config.json, metrics.jsonl, checkpoints/, result.json, report.html."""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

from jaxmeta.runs.check import from_dict
from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.files import write_atomic, write_json
from jaxmeta.runs.recipes import Recipe

# Fields that may differ between a run and its continuation: they change no number.
_FREE = ("out", "fork", "strict", "checkpoint_every", "summary", "track")


class RunFolder(NamedTuple):
    """Paths of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"


def open_folder(recipe: Recipe) -> RunFolder:
    """Finds the folder of a run and writes nothing.

    Args:
      recipe: `recipe.out` is the folder; `None` is the first free runs/<recipe>-<n>.

    Returns:
      A `RunFolder`, new or of the same recipe.

    Raises:
      ConfigError: a folder that holds something else.
    """
    if recipe.out is None:
        n = 1
        while (path := Path("runs") / f"{recipe.name}-{n}").exists():
            n += 1
        return RunFolder(path)
    folder = RunFolder(Path(recipe.out).expanduser())
    wants = "a new or empty folder, or a run with the same settings"
    if folder.path.exists() and not folder.path.is_dir():
        raise ConfigError("out", f"{recipe.out}, which is a file", wants)
    if not folder.path.is_dir() or not any(folder.path.iterdir()):
        return folder
    if not folder.config.is_file():
        raise ConfigError("out", f"{recipe.out}, which holds something else", wants)
    old, new = (dataclasses.asdict(r) for r in (read_config(folder.path), recipe))
    for name in old:
        if name not in _FREE and old[name] != new[name]:
            got = (
                f"{recipe.out}, a run with {name} = {old[name]!r} and not {new[name]!r}"
            )
            other = f"{wants}; --fork {recipe.out} starts another one from it"
            raise ConfigError("out", got, other)
    return folder


def create(folder: RunFolder, recipe: Recipe, version: str) -> None:
    """Makes the folder and writes the resolved recipe, so that a run can be repeated."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        config = {"version": version, "recipe": dataclasses.asdict(recipe)}
        write_json(folder.config, config)
    except OSError as error:
        wants = f"a folder that can be written ({error.strerror})"
        raise ConfigError("out", str(folder.path), wants) from error


def read_config(path: Path) -> Recipe:
    """The recipe of the run in `path`, or a `ConfigError`."""
    config = RunFolder(path).config
    if not config.is_file():
        what = "no config.json in it" if path.is_dir() else "no such folder"
        raise ConfigError(
            "run", f"{path} ({what})", "a folder that jaxmeta train wrote"
        )
    try:
        return from_dict(json.loads(config.read_text(encoding="utf-8"))["recipe"])
    except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
        wants = f"the file that jaxmeta train wrote: {error}"
        raise ConfigError("run", config, wants) from error


class Metrics:
    """The metrics file: one JSON object a line, in the order of the steps."""

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[dict]:
        """All lines; a last line that was cut off is dropped."""
        if not self.path.is_file():
            return []
        rows = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def copy(self, other: Path) -> None:
        """Starts with what another run has written."""
        if other.is_file():
            write_atomic(self.path, other.read_text(encoding="utf-8"))

    def append(self, row: dict) -> None:
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rewind(self, step: int) -> None:
        """Drops what was written after `step`: it is about to happen again."""
        rows = [row for row in self.read() if row["step"] <= step]
        write_atomic(self.path, "".join(json.dumps(row) + "\n" for row in rows))


def read_result(folder: RunFolder) -> dict | None:
    """The result of a finished run; `None` for one that is not finished."""
    if not folder.result.is_file():
        return None
    try:
        return json.loads(folder.result.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{folder.result}: not readable ({error}); delete it") from error
