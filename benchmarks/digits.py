"""MNIST as files of $JAXMETA_DATA, and the interval of a few seeds."""

import gzip
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks import common

T95 = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776}  # Student's t, seeds - 1 degrees


def read(part: str) -> tuple[np.ndarray, np.ndarray]:
    """The rows of pixels in [0, 1] and the labels of "train" or "t10k"."""
    root = Path(os.environ["JAXMETA_DATA"]) / "mnist"
    with gzip.open(root / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 784)
    with gzip.open(root / f"{part}-labels-idx1-ubyte.gz") as file:
        return images.astype(np.float32) / 255, np.frombuffer(file.read()[8:], np.uint8)


def interval(values: Sequence[float]) -> str:
    """`mean ± half a 95 % interval` of Student's t over seeds."""
    half = T95[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.2f} ± {half:.2f}"


def keep(file: Path, part: str, found: dict) -> None:
    """Writes one part of a result beside the parts that are there."""
    kept = json.loads(file.read_text()) if file.exists() else {}
    kept[part] = {"machine": common.machine(), **found}
    file.write_text(json.dumps(kept, indent=1) + "\n")
