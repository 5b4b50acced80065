"""The networks that come with the package, and how a run becomes one.

A network is two files: NAME.safetensors with its parameters by name, and NAME.json with
what it was built with and how it was trained. Those of the package are checked against
the hashes below before anything in them is used.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load, save

from jaxmeta.core import Meta
from jaxmeta.learners.prior_fitted_network import PriorFitted, prior_fitted
from jaxmeta.runs.errors import RunError
from jaxmeta.runs.files import expanded
from jaxmeta.tree import path_name

HERE = Path(__file__).parent / "weights"

HASHES: dict[str, str] = {
    "classes": "7e03880b5489206f3ef7da1113c1ad3d56194dc1ecf5123ec8572f4568afa6ed",
    "values": "f230ba9a9f2db92db21874481d0f5dad742e475c7c32c7abe42e7c3303b5f771",
}
"""SHA-256 of the parameters that come with the package, by name."""

BUILT = ("classes", "borders", "width", "depth", "heads", "expansion")


class Trained(NamedTuple):
    """A network that is ready to read tables.

    Attributes:
      fitted: the learner, and what it believes.
      meta: its parameters.
      about: how it was built and trained; "limits" has the rows, columns and classes
        that it should be given at most.
    """

    fitted: PriorFitted
    meta: Meta
    about: Mapping[str, Any]


@functools.lru_cache(maxsize=8)
def trained(name: str) -> Trained:
    """A network of the package, or one that `pack` wrote.

    Args:
      name: "classes" or "values"; or a path without its ending.

    Returns:
      `Trained`.

    Raises:
      RunError: files that are missing, or are not those that were published.
    """
    path = HERE / name if name in ("classes", "values") else expanded(name)
    try:
        about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        data = path.with_suffix(".safetensors").read_bytes()
    except (OSError, ValueError) as error:
        how = "jaxmeta train tabular-pfn and estimators.pack make one"
        raise RunError(f"weights: no network at {path}; {how}: {error}") from error
    if path.parent == HERE and hashlib.sha256(data).hexdigest() != HASHES.get(name):
        raise RunError(f"weights: {path}.safetensors is not the published file")
    if about["sha256"] != hashlib.sha256(data).hexdigest():
        raise RunError(f"weights: {path}.safetensors is not the one of its .json")
    fitted = prior_fitted(**{k: about["built"][k] for k in BUILT})
    return Trained(fitted, Meta(_tree(load(data))), about)


def pack(run: Any, path: str | Path) -> Path:
    """Writes the network of a run of `jaxmeta train tabular-pfn` for the estimators.

    Args:
      run: of `runs.load`.
      path: where to, without an ending.

    Returns:
      The file of the parameters. `TabularClassifier(weights=path)` uses it.

    Raises:
      RunError: for a run of another recipe.
    """
    if run.name != "tabular-pfn":
        raise RunError(f"run: got one of {run.name}, wants one of tabular-pfn")
    said = run.job.made.options
    path = expanded(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = save(_flat(run.meta.params))
    built = {k: said[k] for k in BUILT if k != "borders"}
    real = said["target"] == "values"
    start = None if said["start"] is None else trained(said["start"]).about
    if start is not None:
        built["borders"] = start["built"]["borders"]
    else:
        built["borders"] = _borders(said) if real else None
    own = {k: x for k, x in said.items() if k != "start"}  # "before" says it
    most = {"rows": 4 * said["support"], "columns": 3 * said["columns"]}
    about = {
        "about": "a prior-fitted network for tables: jaxmeta train tabular-pfn",
        "target": said["target"],
        "built": built,
        "limits": {**most, "classes": said["classes"]},
        "sha256": hashlib.sha256(data).hexdigest(),
        "trained": {**own, "steps": run.step, "tables": run.step * said["batch"]},
    }
    if start is not None:
        about["before"] = [*start.get("before", []), start["trained"]]
    path.with_suffix(".safetensors").write_bytes(data)
    text = json.dumps(about, indent=1, default=str) + "\n"
    path.with_suffix(".json").write_text(text, encoding="utf-8")
    return path.with_suffix(".safetensors")


def _borders(said: Mapping[str, Any]) -> list[float]:
    from jaxmeta.recipes.tabular import bars_of  # which imports this

    return list(bars_of(said))


def _flat(params: Any) -> dict[str, np.ndarray]:
    import jax

    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {path_name(path): np.asarray(x) for path, x in leaves}


def _tree(flat: Mapping[str, np.ndarray]) -> dict:
    """Nested dicts of `{"block1/norm1/scale": ...}`."""
    found: dict = {}
    for name, value in flat.items():
        *folders, last = name.split("/")
        here = found
        for folder in folders:
            here = here.setdefault(folder, {})
        here[last] = value
    return found
