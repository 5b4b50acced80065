"""Checkpoints that notice damage. The only module that knows Orbax.

Orbax writes the arrays; it does not see a flipped bit in them and does not fall back to
an older step. So each step carries a manifest with the SHA-256 of every file, all of
them are compared before anything is restored, and the newest step that is whole wins.

    checkpoints/00000300/arrays/...      Orbax
    checkpoints/00000300/info.json       what is not an array
    checkpoints/00000300/manifest.json   file -> SHA-256
"""

import hashlib
import json
import os
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import jax
from jax.experimental import multihost_utils

from jaxmeta.core import Key, PyTree
from jaxmeta.runs.errors import RunError, one_line
from jaxmeta.runs.files import room, sync

FORMAT = 1
_ARRAYS, _INFO, _MANIFEST = "arrays", "info.json", "manifest.json"


class Snapshot(NamedTuple):
    """All that decides the future of a run.

    Attributes:
      state: the `TrainState`.
      best: the best `Meta` so far; `()` where none is kept.
      key: the root key.
      info: what is not an array: scores, seconds, recipe, fingerprint.
    """

    state: PyTree
    best: PyTree
    key: Key
    info: dict


class _Damage(Exception):
    """A step that is not what was written."""


def save(folder: Path, step: int, snapshot: Snapshot, *, keep: int = 2) -> None:
    """Writes one step, whole or not at all, and drops all but the newest `keep`.

    Args:
      folder: `checkpoints/` of the run.
      step: the number of outer steps taken.
      snapshot: what to write.
      keep: steps to keep.

    Raises:
      RunError: the disk is full, or the folder cannot be written. Earlier steps stay.
    """
    final = folder / f"{step:08d}"
    if final.exists():
        return  # of this very run, and verified when the run was continued
    part = folder / f".part-{step:08d}"
    try:
        first = jax.process_index() == 0
        if first:
            folder.mkdir(exist_ok=True)  # not its parents: what vanished stays so
            for left in folder.glob(".part-*"):  # of a save that was killed
                shutil.rmtree(left, ignore_errors=True)
            part.mkdir()
        _together(f"{part} is there")
        _write(part, step, snapshot)
        if first:
            os.replace(part, final)
            sync(folder)
        _together(f"{final} is there")
    except (OSError, ValueError) as error:
        shutil.rmtree(part, ignore_errors=True)
        intact = [path.name for path in steps(folder)[-1:]]
        needed = sum(x.nbytes for x in jax.tree.leaves((snapshot.state, snapshot.best)))
        raise RunError(
            f"{final}: could not be written ({one_line(error)}; {room(folder)}, "
            f"{needed / 1e6:.1f} MB needed); "
            f"the last good step is {intact[0] if intact else 'none'}"
        ) from error
    for old in steps(folder)[:-keep] if first else ():
        shutil.rmtree(old, ignore_errors=True)


def restore(
    folder: Path, like: tuple[PyTree, PyTree] | None, *, own: bool = True
) -> Snapshot | None:
    """Reads the newest step that is whole.

    A damaged step is renamed to `<step>.damaged`, with one warning that names the file.

    Args:
      folder: `checkpoints/` of the run.
      like: shapes and types of `(state, best)`; `None` takes them as they were written,
        in dictionaries by name.
      own: whether it is the run that goes on here. Nothing is renamed in another one,
        which may be running: a step that it drops meanwhile is not a damaged one.

    Returns:
      A `Snapshot`, or `None` where nothing was ever saved.

    Raises:
      RunError: there were steps, and none is whole.
    """
    bad: set[str] = set()
    while left := [path for path in steps(folder) if path.name not in bad]:
        path = left[-1]
        try:
            return _read(path, like)
        except (_Damage, RunError) as error:
            if not os.path.lexists(path):
                continue  # dropped since it was listed
            if isinstance(error, RunError):
                raise
            bad.add(path.name)
            kept = f"; {_put_aside(path)}" if own else ""
            warnings.warn(
                f"checkpoint {path.name} is damaged ({error}){kept}", stacklevel=2
            )
    aside = folder.glob("*.damaged") if folder.is_dir() else ()
    damaged = sorted({*bad, *(path.name.removesuffix(".damaged") for path in aside)})
    if damaged:
        advice = "; train into another folder to start again" if own else ""
        raise RunError(
            f"{folder}: no checkpoint is whole ({len(damaged)} damaged, such as "
            f"{damaged[-1]}){advice}"
        )
    return None


def _put_aside(path: Path) -> str:
    away = path.with_name(path.name + ".damaged")
    try:
        if away.is_dir():
            shutil.rmtree(away)
        os.replace(path, away)
    except OSError as error:  # a disk that can only be read still has older steps
        return f"it could not be put aside ({error.strerror})"
    return f"kept as {away.name}"


def damage(path: Path) -> str | None:
    """What is wrong with the bytes of one step; `None` for one that is whole."""
    try:
        _verify(path)
    except _Damage as found:
        return str(found)
    return None


def steps(folder: Path) -> list[Path]:
    """Folders of the steps, oldest first."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdigit())


def _write(part: Path, step: int, snapshot: Snapshot) -> None:
    from orbax.checkpoint import v1 as ocp

    key = {
        "impl": str(jax.random.key_impl(snapshot.key)),
        "data": jax.random.key_data(snapshot.key).tolist(),
    }
    tree = {"state": snapshot.state, "best": snapshot.best}
    # Folders made in the background: where one cannot be made, Orbax's threads wait five
    # minutes for it, and a process that has said why it fails waits for them.
    context = ocp.Context()
    context.asynchronous.create_directories_asynchronously = False
    with context:
        ocp.save(str(part.resolve() / _ARRAYS), tree)
    if jax.process_index():
        return
    info = {"format": FORMAT, "step": step, "key": key, **snapshot.info}
    (part / _INFO).write_text(json.dumps(info, allow_nan=False), encoding="utf-8")
    digests = _digests(part)
    # No white space: then there is no byte in the manifest that could change unnoticed.
    text = json.dumps({"format": FORMAT, "files": digests}, separators=(",", ":"))
    (part / _MANIFEST).write_text(text, encoding="utf-8")
    for path in [*part.rglob("*"), part]:
        sync(path)


def _read(path: Path, like: tuple[PyTree, PyTree] | None) -> Snapshot:
    from orbax.checkpoint import v1 as ocp

    _verify(path)
    try:
        info = json.loads((path / _INFO).read_text(encoding="utf-8"))
        data = jax.numpy.asarray(info["key"]["data"], "uint32")
        key = jax.random.wrap_key_data(data, impl=info["key"]["impl"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise _Damage(f"{_INFO}: {one_line(error)}") from error
    arrays = str(path.resolve() / _ARRAYS)
    try:
        tree = ocp.load(arrays) if like is None else _load(arrays, like)
    except Exception as error:
        # Its bytes are as written: the fault is with what is asked for. Orbax calls all
        # of that "incompatible handler".
        raise RunError(
            f"{path}: its arrays do not fit this recipe or this version of jaxmeta"
        ) from error
    return Snapshot(tree["state"], tree["best"], key, info)


def _load(arrays: str, like: tuple[PyTree, PyTree]) -> dict[str, PyTree]:
    from orbax.checkpoint import v1 as ocp

    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    abstract = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device),
        {"state": like[0], "best": like[1]},
    )
    # Orbax finds out half way, and leaves threads behind that complain later.
    if _shapes(ocp.metadata(arrays).metadata) != _shapes(abstract):
        raise ValueError("arrays of other shapes")
    return ocp.load(arrays, abstract)


def _shapes(tree: PyTree) -> Counter:
    """How often each shape comes; Orbax keeps no order of its own."""
    return Counter(tuple(leaf.shape) for leaf in jax.tree.leaves(tree))


def _together(what: str) -> None:
    """Waits for the other processes of a run; all of them call what writes."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def _verify(path: Path) -> None:
    """Compares every file with the manifest."""
    try:
        manifest = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        wanted, format_ = dict(manifest["files"]), manifest["format"]
        found = _digests(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _Damage(f"{_MANIFEST}: {one_line(error)}") from error
    if format_ != FORMAT or len(manifest) != 2:
        raise _Damage(f"{_MANIFEST}: not of format {FORMAT}")
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            state = "missing" if name not in found else "not as it was written"
            raise _Damage(f"{name}: {state}")


def _digests(path: Path) -> dict[str, str]:
    """File -> SHA-256, the manifest itself left out."""
    manifest = path / _MANIFEST
    files = sorted(p for p in path.rglob("*") if p.is_file() and p != manifest)
    return {
        p.relative_to(path).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
    }
