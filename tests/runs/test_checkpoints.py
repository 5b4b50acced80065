"""Damage is noticed, named, put aside, and the step before it is used."""

import os
import random
import shutil
import sys
import threading
import time

import jax
import jax.numpy as jnp
import pytest

from jaxmeta.runs import RunError, checkpoints, loop
from jaxmeta.runs.checkpoints import Snapshot

from .conftest import tiny

STATE = {"w": jnp.arange(600.0).reshape(20, 30), "n": (jnp.zeros((), "int32"), ())}
LIKE = jax.eval_shape(lambda: (STATE, {"b": jnp.ones(3)}))


def snapshot(x):
    state = jax.tree.map(lambda a: a + jnp.asarray(x, a.dtype), STATE)
    return Snapshot(state, {"b": jnp.ones(3)}, jax.random.key(7), {"best": None})


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    for step in (1, 2, 3):
        checkpoints.save(folder, step, snapshot(step))
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "checkpoints")


def files(folder):
    return sorted(p for p in (folder / "00000003").rglob("*") if p.is_file())


def test_round_trip(copy):
    assert sorted(p.name for p in copy.iterdir()) == ["00000002", "00000003"]
    got = checkpoints.restore(copy, LIKE)
    assert got.info["step"] == 3
    assert jax.tree.structure(got.state) == jax.tree.structure(STATE)
    assert (got.state["w"] == STATE["w"] + 3).all()
    assert jax.random.key_data(got.key).tolist() == [0, 7]
    assert jax.random.key_impl(got.key) == jax.random.key_impl(jax.random.key(0))


def test_nothing_saved_is_no_error(tmp_path):
    assert checkpoints.restore(tmp_path / "none", LIKE) is None


def test_every_flipped_bit_is_noticed(copy):
    rng = random.Random(0)
    noticed = 0
    for _ in range(60):
        path = rng.choice([p for p in files(copy) if p.stat().st_size])
        whole = path.read_bytes()
        at = rng.randrange(len(whole))
        flipped = bytes([whole[at] ^ (1 << rng.randrange(8))])
        path.write_bytes(whole[:at] + flipped + whole[at + 1 :])
        try:
            checkpoints._verify(copy / "00000003")
        except checkpoints._Damage:
            noticed += 1
        path.write_bytes(whole)
    assert noticed == 60


@pytest.mark.parametrize("damage", ["flip", "cut", "delete", "empty step", "extra"])
def test_falls_back_with_one_warning(copy, damage):
    newest = copy / "00000003"
    path = max(files(copy), key=lambda p: p.stat().st_size)
    if damage == "flip":
        whole = bytearray(path.read_bytes())
        whole[len(whole) // 2] ^= 1
        path.write_bytes(whole)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif damage == "delete":
        path.unlink()
    elif damage == "extra":
        (newest / "arrays" / "more").write_text("x")
    else:
        shutil.rmtree(newest)
        newest.mkdir()
    with pytest.warns(UserWarning, match=r"checkpoint 00000003 is damaged \(") as seen:
        got = checkpoints.restore(copy, LIKE)
    assert len(seen) == 1
    assert got.info["step"] == 2 and (got.state["w"] == STATE["w"] + 2).all()
    assert (copy / "00000003.damaged").is_dir()


def test_none_whole_is_an_error_now_and_later(copy):
    for step in copy.iterdir():
        (step / "info.json").write_text("{}")
    with pytest.warns(UserWarning), pytest.raises(RunError, match="no checkpoint is"):
        checkpoints.restore(copy, LIKE)
    with pytest.raises(RunError, match="no checkpoint is"):
        checkpoints.restore(copy, LIKE)


def test_other_shapes_are_named_as_such(copy):
    like = jax.eval_shape(lambda: ({"w": jnp.ones(4)}, ()))
    with pytest.raises(RunError, match="do not fit this recipe"):
        checkpoints.restore(copy, like)


def test_save_that_fails_names_the_last_good_step(copy, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write", full)
    with pytest.raises(RunError, match=r"No space left.*last good step is 00000003"):
        checkpoints.save(copy, 4, snapshot(4))
    assert not list(copy.glob(".part*"))
    assert checkpoints.restore(copy, LIKE).info["step"] == 3


@pytest.mark.parametrize("own", [True, False])
def test_what_is_no_folder_is_damaged_as_well(copy, own):
    (copy / "00000008").write_text("")
    (copy / "00000009").symlink_to("nowhere")
    with pytest.warns(UserWarning, match="is damaged") as said:
        assert checkpoints.restore(copy, LIKE, own=own).info["step"] == 3
    assert len(said) == 2


def busy(others):
    """Threads that a process would wait for; one of a pool that has no work is none."""
    now = sys._current_frames()
    new = [t for t in set(threading.enumerate()) - others if not t.daemon]
    idle = {"_worker", "get"}  # of concurrent.futures.thread, and its queue
    return [
        t.name
        for t in new
        if t.ident in now and now[t.ident].f_code.co_name not in idle
    ]


def test_save_that_cannot_make_folders_leaves_no_thread(copy, monkeypatch):
    """Orbax's threads would wait five minutes for the folder, and the process for them."""
    made = os.mkdir

    def refuse(path, *args, **options):
        if "orbax-checkpoint-tmp" in str(path):
            raise OSError(28, "No space left on device", str(path))
        made(path, *args, **options)

    monkeypatch.setattr(os, "mkdir", refuse)
    others = set(threading.enumerate())  # of tests before this one: a notebook's
    with pytest.raises(RunError, match=r"No space left.*last good step is 00000003"):
        checkpoints.save(copy, 4, snapshot(4))
    until = time.monotonic() + 10
    while (waiting := busy(others)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not waiting


def test_save_clears_what_a_killed_one_left(copy):
    (copy / ".part-00000009" / "arrays").mkdir(parents=True)
    checkpoints.save(copy, 4, snapshot(4))
    assert not list(copy.glob(".part*"))


def test_lost_checkpoints_are_no_silent_restart(finished, tmp_path, monkeypatch):
    out = shutil.copytree(finished[0], tmp_path / "run")
    shutil.rmtree(out / "checkpoints")
    (out / "result.json").unlink()

    def enough(*args):
        raise RunError("enough")

    monkeypatch.setattr(loop, "run", enough)
    said = r"got to step 10 and there is no checkpoint of it; it starts again"
    with pytest.warns(UserWarning, match=said), pytest.raises(RunError, match="enough"):
        tiny(out)
