"""The run folder: config.json, metrics.jsonl, checkpoints/, result.json, report.html."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxmeta.runs.errors import ConfigError, RunError
from jaxmeta.runs.files import expanded, write_atomic, write_json
from jaxmeta.runs.making import Made
from jaxmeta.runs.settings import FREE, Settings, check

FORMAT = 2
"""Of config.json; 0.1 wrote no number."""


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


class Config(NamedTuple):
    """What config.json says.

    Attributes:
      recipe: where the experiment is from: see `Recipe.origin`.
      options: the value of every option of the recipe.
      settings: the run's.
      version: of jaxmeta, when the run began.
    """

    recipe: dict[str, Any]
    options: dict[str, Any]
    settings: Settings
    version: str


def open_folder(made: Made, settings: Settings) -> RunFolder:
    """Finds the folder of a run and writes nothing.

    Args:
      made: what is run.
      settings: `out` is the folder; `None` is the first free runs/<recipe>-<n>.

    Returns:
      A `RunFolder`, new or of the same experiment and settings.

    Raises:
      ConfigError: a folder that holds something else.
    """
    if settings.out is None:
        n = 1
        while (path := Path("runs") / f"{made.recipe.name}-{n}").exists():
            n += 1
        return RunFolder(path)
    out = settings.out
    folder = RunFolder(expanded(out))
    wants = "a new or empty folder, or a run with the same settings"
    if folder.path.exists() and not folder.path.is_dir():
        raise ConfigError("out", f"{out}, which is a file", wants)
    if not folder.path.is_dir() or not any(folder.path.iterdir()):
        return folder
    if not folder.config.is_file():
        raise ConfigError("out", f"{out}, which holds something else", wants)
    old = read_config(folder.path)
    other = f"{wants}; --fork {out} starts another one from it"
    if old.recipe != made.recipe.origin:
        what = "the recipe, or its file, is another one than the run was started with"
        raise ConfigError("out", f"{out}: {what}", other)
    was = old.options | dataclasses.asdict(old.settings)
    now = made.options | dataclasses.asdict(settings)
    for name in {**was, **now}:
        if name not in FREE and was.get(name) != now.get(name):
            got = f"{out}, a run with {name} = {was.get(name)!r} and not {now.get(name)!r}"
            raise ConfigError("out", got, other)
    return folder


def claim(made: Made, settings: Settings) -> RunFolder:
    """`open_folder`, and a new one is made: runs begun side by side get one each."""
    for _ in range(1000):
        folder = open_folder(made, settings)
        try:
            folder.path.mkdir(parents=True, exist_ok=settings.out is not None)
        except FileExistsError:
            continue  # another run was faster
        except OSError:
            break  # `create` says what is wrong with it
        return folder
    return folder


@contextlib.contextmanager
def held(folder: RunFolder):
    """Keeps a second process out of a run, until this one ends, however it ends.

    Raises:
      RunError: another one is in it.
    """
    try:
        handle = os.open(folder.path, os.O_RDONLY)
    except OSError:
        yield  # where folders cannot be opened (Windows), nobody is kept out
        return
    try:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            what = (
                "another process is training in it; wait for it, or give another --out"
            )
            raise RunError(f"{folder.path}: {what}") from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def create(folder: RunFolder, made: Made, settings: Settings, version: str) -> None:
    """Makes the folder and writes what is run, so that it can be repeated."""
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        config = {
            "format": FORMAT,
            "version": version,
            "recipe": made.recipe.origin,
            "options": made.options,
            "settings": dataclasses.asdict(settings),
        }
        write_json(folder.config, config)
    except OSError as error:
        wants = f"a folder that can be written ({error.strerror})"
        raise ConfigError("out", str(folder.path), wants) from error


def read_config(path: Path) -> Config:
    """What the run in `path` says of itself.

    Raises:
      ConfigError: no run, a damaged file, or one of another version.
    """
    config = RunFolder(path).config
    if not config.is_file():
        what = "a file" if path.exists() else "no such folder"
        if path.is_dir():
            what = "no config.json in it"
        raise ConfigError(
            "run", f"{path} ({what})", "a folder that jaxmeta train wrote"
        )
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
        number, version = found.get("format"), str(found.get("version"))
        if number == FORMAT:
            return _config(found, version)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
        RecursionError,
    ) as error:
        wants = f"the file that jaxmeta train wrote: {error}"
        raise ConfigError("run", config, wants) from error
    wants = "a run of jaxmeta 0.2"
    if number is None and version.startswith("0.1"):
        wants += "; jaxmeta 0.1 reads it: pip install 'jaxmeta<0.2'"
    raise ConfigError("run", f"{path}, a run of jaxmeta {version}", wants)


def _config(found: Mapping[str, Any], version: str) -> Config:
    recipe, options = found["recipe"], found["options"]
    if not isinstance(recipe, dict) or not isinstance(options, dict):
        raise ValueError("recipe and options are no objects")
    known = {f.name for f in dataclasses.fields(Settings)}
    for name in found["settings"]:
        if name not in known:
            raise ConfigError(name, "an unknown setting", "one of this version")
    return Config(recipe, options, check(Settings(**found["settings"])), version)


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
