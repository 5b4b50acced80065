"""Checkpoints that are damaged, and disks that are full."""

import random
import shutil
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxmeta.runs import checkpoints
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.errors import RunError
from tests.scorecard.score import Score, Tally, digest, scratch

STATE = {"w": jnp.arange(600.0).reshape(20, 30), "n": (jnp.zeros((), "int32"), ())}
BEST = {"b": jnp.ones(3)}
LIKE = jax.eval_shape(lambda: (STATE, BEST))


def snapshot(step: int) -> Snapshot:
    """A small state that differs from step to step."""
    state = jax.tree.map(lambda x: x + jnp.asarray(step, x.dtype), STATE)
    return Snapshot(state, BEST, jax.random.key(7), {"best": None})


def saved(root: Path, steps=(1, 2, 3)) -> Path:
    """A folder with some checkpoints."""
    folder = root / "checkpoints"
    for step in steps:
        checkpoints.save(folder, step, snapshot(step))
    return folder


def restored(folder: Path) -> tuple[int | None, list[str]]:
    """The step that is restored, if its bits are right, and what was warned of."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = checkpoints.restore(folder, LIKE)
    # an interrupted save leaves coroutines, of which Python warns when it finds them
    said = [str(w.message) for w in seen if w.category is UserWarning]
    if found is None:
        return None, said
    step = int(found.info["step"])
    right = digest(found[:3]) == digest(snapshot(step)[:3])
    return (step if right else -step), said


def bitflip(flips: int = 200, seed: int = 0) -> Score:
    """BITFLIP: a flipped bit anywhere in the newest checkpoint is noticed."""
    rng, tally = random.Random(seed), Tally()
    with scratch() as root:
        folder = saved(root)
        newest = folder / "00000003"
        files = [p for p in newest.rglob("*") if p.is_file() and p.stat().st_size]
        weights = [p.stat().st_size for p in files]
        for i in range(flips):
            # half by bytes, half by files: small files hold what is vital
            path = rng.choices(files, weights)[0] if i % 2 else rng.choice(files)
            whole = path.read_bytes()
            at, bit = rng.randrange(len(whole)), 1 << rng.randrange(8)
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            tally.add(
                checkpoints.damage(newest) is not None,
                f"{path.name} byte {at} bit {bit}",
            )
            path.write_bytes(whole)
        untouched = restored(folder) == (3, [])
    return tally.score("" if untouched else "the undamaged step does not restore")


def fallback(every: int = 1) -> Score:
    """FALLBACK: whatever happens to the newest step, the one before is restored, with
    one warning that names step and file, and the bad one is kept aside."""
    tally = Tally()
    with scratch() as root:
        source = saved(root)
        files = sorted(p for p in (source / "00000003").rglob("*") if p.is_file())
        names = [p.relative_to(source).as_posix() for p in files]
        damages = [(how, name) for name in names for how in ("half", "zero", "delete")]
        empty = {n for n, p in zip(names, files, strict=True) if not p.stat().st_size}
        damages = [(how, n) for how, n in damages if how != "half" or n not in empty]
        damages = [*damages[::every], ("empty", ""), ("garbage", ""), ("file", "")]
        for how, name in damages:
            folder = shutil.copytree(source, root / "copy")
            _damage(folder, how, name)
            step, said = restored(folder)
            aside = (folder / "00000003.damaged").exists()
            file = name.partition("/")[2] or "manifest.json"
            named = len(said) == 1 and all(x in said[0] for x in ("00000003", file))
            good = step == 2 and named and aside
            tally.add(good, f"{how} {name}: step {step}, {said}")
            shutil.rmtree(folder)
        folder = shutil.copytree(source, root / "copy")
        for step in folder.iterdir():
            (step / "info.json").write_text("{}")
        tally.case("no step whole: an error", lambda: _refuses(folder))
    return tally.score()


def _damage(folder: Path, how: str, name: str) -> None:
    path, newest = folder / name, folder / "00000003"
    if how == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "zero":
        path.write_bytes(bytes(path.stat().st_size) or b"\0")
    elif how == "delete":
        path.unlink()
    else:
        shutil.rmtree(newest)
        if how == "file":
            newest.write_text("no folder")
            return
        newest.mkdir()
        if how == "garbage":
            (newest / "manifest.json").write_text('{"format":1,"files":[1,2]}')


def _refuses(folder: Path) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            try:
                checkpoints.restore(folder, LIKE)
                return False
            except RunError:
                continue
    return True
