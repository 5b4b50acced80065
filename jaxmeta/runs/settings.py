"""The options of every run, whatever it learns."""

import ast
import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.kinds import check_type
from jaxmeta.runs.options import Option

_LARGEST_SEED = 2**32 - 1
_AT_LEAST = {
    **dict.fromkeys(("steps", "batch", "chunk", "task_chunk", "devices"), 1),
    **dict.fromkeys(("checkpoint_every",), 1),
    **dict.fromkeys(("episodes", "validate_episodes"), 2),
    **dict.fromkeys(("validate_every", "seed"), 0),
}
OUTER = ("steps", "batch")
"""Settings that a recipe has, too: an `Experiment` says them."""
USUAL = {"episodes": 600, "validate_episodes": 200, "chunk": 25}
"""What settings are where neither the user nor the experiment says anything."""
SUGGESTED = (*USUAL, "validate_every", "checkpoint_every", "task_chunk")
"""Settings that an experiment may have defaults for."""
FREE = ("out", "fork", "strict", "checkpoint_every", "track")
"""Settings that may differ between a run and its continuation: they change no number."""


@dataclass(frozen=True)
class Settings:
    """How a run goes about it. Nothing here is about a method, a data set, a network."""

    steps: int | None = None
    """Outer steps; None: as the recipe says."""
    batch: int | None = None
    """Tasks an outer step averages over; None: as the recipe says."""
    seed: int = 0
    """Everything random follows from it."""
    out: str | None = None
    """Run folder; None: runs/<recipe>-<n>. An unfinished run in it is continued."""
    devices: int = 1
    """Devices the tasks of a step are spread over; on a CPU, one for each core."""
    episodes: int | None = None
    """Test episodes; None: as the recipe says, or 600."""
    validate_every: int | None = None
    """Outer steps between validations; None: a tenth of the run; 0: never."""
    validate_episodes: int | None = None
    """Validation episodes, no test episode ever chooses anything; None: as the recipe
    says, or 200."""
    keep: Literal["best", "last"] = "best"
    """Parameters to test: the best by validation, or the last."""
    chunk: int | None = None
    """Outer steps in one compiled call, and between two lines of metrics; None: as the
    recipe says, or 25."""
    task_chunk: int | None = None
    """Tasks computed side by side; None: chosen for the machine."""
    checkpoint_every: int | None = None
    """Outer steps between checkpoints; None: a tenth of the run."""
    fork: str | None = None
    """Run folder to start from: its newest checkpoint, under these settings."""
    warm_start: str | None = None
    """Run folder whose network this run's starts with, as far as shapes agree."""
    strict: bool = False
    """Refuse to continue a run where its fingerprint differs."""
    exact: bool = False
    """One task at a time, in order: bits that no device count changes. Slower."""
    on_nonfinite: Literal["raise", "skip_task", "rollback"] = "raise"
    """A NaN ends the run, leaves its task out, or goes back to a checkpoint."""
    inner_alarm: float | None = None
    """Warn when an inner loop makes its loss this many times what it was."""
    track: Literal["none", "tensorboard", "wandb"] = "none"
    """Metrics go to metrics.jsonl and .csv; and to these."""

    def filled(self, defaults: Mapping[str, Any]) -> "Settings":
        """With `Experiment.defaults`, and what is usual, where nothing was said."""
        for name in defaults:
            if name not in SUGGESTED:
                wants = f"one of {', '.join(SUGGESTED)}"
                raise ConfigError("defaults", repr(name), wants)
        both = {**USUAL, **defaults}
        unsaid = {n: v for n, v in both.items() if getattr(self, n) is None}
        return self.having(**unsaid)

    def having(self, **changes: Any) -> "Settings":
        """The same settings but for some."""
        return dataclasses.replace(self, **changes)


def own_settings() -> dict[str, Option]:
    """The settings as options of a command line."""
    tree = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(tree, ast.ClassDef)
    said = [n.value.value for n in tree.body if isinstance(n, ast.Expr)][1:]  # type: ignore
    return {
        field.name: Option(
            field.name, field.type, field.default, " ".join(str(text).split())
        )
        for field, text in zip(dataclasses.fields(Settings), said, strict=True)
    }


def check(settings: Settings) -> Settings:
    """Returns the settings, or raises a `ConfigError` for the first bad field."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        check_type(field.name, value, field.type)
    for name in _AT_LEAST:
        check_least(name, getattr(settings, name))
    for name in ("out", "fork", "warm_start"):
        if getattr(settings, name) == "":
            raise ConfigError(name, "''", "a folder")
    if settings.seed > _LARGEST_SEED:
        raise ConfigError("seed", settings.seed, f"an integer <= {_LARGEST_SEED}")
    alarm = settings.inner_alarm
    if alarm is not None and not 0 < alarm < float("inf"):
        raise ConfigError("inner_alarm", alarm, "a finite number > 0")
    return settings


def check_least(name: str, value: int | None) -> None:
    """Raises a `ConfigError` where a value is less than the least of its setting."""
    if value is not None and value < _AT_LEAST[name]:
        raise ConfigError(name, value, f"an integer >= {_AT_LEAST[name]}")
