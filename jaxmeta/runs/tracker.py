"""Where the metrics of a run go: JSONL and CSV always, TensorBoard or W&B if asked."""

import csv
import importlib
from pathlib import Path
from typing import Protocol

from jaxmeta.runs.errors import ConfigError
from jaxmeta.runs.files import write_atomic
from jaxmeta.runs.folder import Metrics, RunFolder

# The library behind a tracker, and the extra that brings it.
_LIBRARIES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


class Tracker(Protocol):
    """Takes rows of metrics: `{"step": 25, "loss": 0.7, ...}`, in the order of steps."""

    def log(self, row: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class Jsonl:
    """One JSON object a line; the run's own record, which continued runs read."""

    def __init__(self, metrics: Metrics):
        self.metrics = metrics

    def log(self, row: dict[str, float]) -> None:
        self.metrics.append(row)

    def close(self) -> None:
        pass


class Csv:
    """A table: a column for each metric, empty where a row does not have it."""

    def __init__(self, path: Path, rows: list[dict]):
        self.path, self.rows = path, list(rows)
        self.columns: list[str] = []
        if rows:
            self._write()

    def log(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        if set(row) <= set(self.columns):
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)
        else:
            self._write()

    def close(self) -> None:
        pass

    def _write(self) -> None:
        """All of it anew: a row has brought a column."""
        self.columns = list(dict.fromkeys(k for row in self.rows for k in row))
        lines = [
            self.columns,
            *([r.get(c, "") for c in self.columns] for r in self.rows),
        ]
        text = "".join(",".join(map(str, line)) + "\n" for line in lines)
        write_atomic(self.path, text)


class TensorBoard:
    """Event files in `<run>/tensorboard`, without TensorFlow."""

    def __init__(self, path: Path, step: int):
        writer = importlib.import_module("tensorboardX").SummaryWriter
        # what a stopped run wrote after its last checkpoint happens again
        self.writer = writer(str(path / "tensorboard"), purge_step=step + 1)

    def log(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            if name != "step":
                self.writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self.writer.close()


class Wandb:
    """An offline Weights & Biases run in `<run>/wandb`; `wandb sync` uploads it."""

    def __init__(self, path: Path, config: dict):
        wandb = importlib.import_module("wandb")
        self.run = wandb.init(
            mode="offline",
            dir=str(path),
            project="jaxmeta",
            name=path.name,
            config=config,
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, row: dict[str, float]) -> None:
        self.run.log({k: v for k, v in row.items() if k != "step"}, step=row["step"])

    def close(self) -> None:
        self.run.finish()


class All:
    """Several trackers as one."""

    def __init__(self, *trackers: Tracker):
        self.trackers = trackers

    def log(self, row: dict[str, float]) -> None:
        for tracker in self.trackers:
            tracker.log(row)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()


def check_tracker(track: str) -> None:
    """Says at once if the library of a tracker is not there."""
    if track == "none":
        return
    try:
        importlib.import_module(_LIBRARIES[track])
    except ImportError:
        wants = f"none, or pip install jaxmeta[{track}]"
        raise ConfigError("track", track, wants) from None


def open_tracker(
    where: RunFolder, config: dict, metrics: Metrics, step: int, track: str
) -> All:
    """The trackers of a run that goes on at `step`; `metrics` has been rewound to it."""
    trackers: list[Tracker] = [
        Jsonl(metrics),
        Csv(where.path / "metrics.csv", metrics.read()),
    ]
    if track == "tensorboard":
        trackers.append(TensorBoard(where.path, step))
    if track == "wandb":
        trackers.append(Wandb(where.path, config))
    return All(*trackers)
