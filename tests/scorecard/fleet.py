"""The same bits on other numbers of devices, and on two processes of one machine.

The programs are this file itself: `python -m tests.scorecard.fleet devices|alone|rank`.
"""

import contextlib
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.scorecard.bits import answer
from tests.scorecard.score import Score, Tally, digest, environment, scratch


def devices(steps: int = 50, counts: tuple[int, ...] = (1, 2, 4, 8)) -> Score:
    """DEVICES-1248: the same episodes, parameters within rounding, and in exact mode
    the same bits, on virtual devices."""
    found = answer("fleet", "devices", json.dumps([steps, counts]))
    tally = Tally()
    for what, good in found["cases"].items():
        tally.add(good, what)
    return tally.score(found["note"])


def loopback(steps: int = 20) -> Score:
    """LOOPBACK-2: two processes of `jax.distributed` on this machine agree bit for bit,
    equal one process, and go on bit for bit after one of them was killed."""
    tally = Tally()
    with scratch() as root:
        whole = _pair(root / "a", steps)
        tally.add(len(whole) == 2 and whole[0] == whole[1], f"ranks agree: {whole}")
        alone = answer("fleet", "alone", json.dumps(steps))
        near = bool(whole) and abs(alone["norm"] - whole[0]["norm"]) <= 1e-6
        tally.add(near, f"one process: {alone}")
        seconds, statuses = _kill_one(root / "b", steps)
        gone = statuses[0] != 0 and seconds <= 60
        tally.add(gone, f"the other ended with {statuses[0]} after {seconds:.0f} s")
        again = _pair(root / "b", steps)
        same = bool(again) and [x["hash"] for x in again] == [x["hash"] for x in whole]
        tally.add(same, "both resume bit for bit")
        same_as_one = bool(whole) and alone["hash"] == whole[0]["hash"]
    bits = "the same bits as" if same_as_one else "within 1e-6 of"
    return tally.score(f"{bits} one process of two devices; survivor {seconds:.0f} s")


def _devices(steps: int, counts: list[int]) -> dict:
    import jax

    jax.config.update("jax_num_cpu_devices", max(counts))
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import numpy as np
    import optax

    import jaxmeta as jm
    from jaxmeta.testing.subject import cast

    cases, notes, batch = {}, [], max(counts)

    def images(key):
        x = jax.random.normal(key, (3, 8, 8, 1))
        return jm.Episode(jm.Batch(x, jnp.eye(3)), jm.Batch(x + 0.1, jnp.eye(3)))

    mlp = jm.maml(jm.models.mlp(3, hidden=(8,)), optax.sgd(0.1), steps=2)
    conv = jm.maml(jm.models.conv4(3, filters=4, blocks=2), optax.sgd(0.1), steps=1)
    probe, adam, sgd = jm.testing.probe(), optax.adam(1e-3), optax.sgd(1e-2)
    plans = [
        ("f64 mlp", mlp, probe, steps, jnp.float64, 1e-12, False, adam),
        ("f32 mlp", mlp, probe, steps, jnp.float32, 1e-6, False, adam),
        ("f32 conv", conv, images, 5, jnp.float32, 1e-3, False, adam),
        ("exact mlp", mlp, probe, steps, jnp.float32, 0.0, True, adam),
        ("exact conv", conv, images, 5, jnp.float32, 0.0, True, adam),
        ("exact mlp by sgd", mlp, probe, steps, jnp.float32, 0.0, True, sgd),
    ]
    for name, learner, source, length, dtype, limit, exact, tx in plans:
        as_type = functools.partial(_floats, dtype=dtype)

        def task(key, source=source, as_type=as_type):
            return as_type(cast(source(key)))

        ends, losses, episodes = [], [], []
        for count in counts:
            mesh = jm.train.task_mesh(jax.devices()[:count])
            trainer = jm.make_trainer(jm.episodic(learner, mesh=mesh, exact=exact), tx)
            first = jax.vmap(task)(jax.random.split(jax.random.key(0), batch))
            state = as_type(trainer.init(jax.random.key(1), first))
            state = jm.train.sharding.replicate(state, mesh)
            run = jax.jit(
                lambda state, key, trainer=trainer, task=task, length=length: jm.fit(
                    trainer, task, state, key, steps=length, batch=batch
                )
            )
            key = jm.train.sharding.replicate(jax.random.key(2), mesh)
            state, metrics = run(state, key)
            ends.append(jax.device_get(state.meta.params))
            losses.append(float(metrics["loss"][-1]))
            draw = jax.jit(lambda k, task=task: task(jax.random.fold_in(k, 0)))
            episodes.append(digest(draw(key)))
        gaps = [_gap(np, ends[0], end) for end in ends]
        if name == "f64 mlp":
            for count, found in zip(counts, episodes, strict=True):
                cases[f"episodes on {count}"] = found == episodes[0]
        if exact:
            # Compiled for one device, Adam's division by a scalar becomes a product with
            # its inverse, and rounds otherwise: reported, not promised.
            least = 1 if tx is sgd else 2
            base = next(e for e, n in zip(ends, counts, strict=True) if n >= least)
            for count, end in zip(counts, ends, strict=True):
                if count > 1:
                    cases[f"{name} on {count}"] = digest(end) == digest(base)
            notes.append(f"{name}: 1 device {'=' if gaps[-1] == 0 else '!='} {batch}")
        else:
            if name == "f32 conv":
                gaps = [abs(x - losses[0]) for x in losses]
            for count, gap in zip(counts[1:], gaps[1:], strict=True):
                cases[f"{name} on {count}: {gap:.1e}"] = gap <= limit
            notes.append(f"{name} {max(gaps):.0e}")
    return {"cases": cases, "note": ", ".join(notes)}


def _floats(tree, *, dtype):
    import jax
    import jax.numpy as jnp

    def one(x):
        return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

    return jax.tree.map(one, tree)


def _gap(np, a, b) -> float:
    import jax

    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return max(
        float(np.abs(x - y).max() / max(np.abs(x).max(), 1e-30)) for x, y in pairs
    )


def _problem():
    import jax
    import optax

    import jaxmeta as jm
    from jaxmeta.runs.writer import to_host
    from jaxmeta.train.sharding import replicate

    mesh = jm.train.task_mesh()
    learner = jm.maml(jm.models.mlp(3, hidden=(8,)), optax.sgd(0.1), steps=1)
    task = jm.testing.probe()
    trainer = jm.make_trainer(jm.episodic(learner, mesh=mesh), optax.adam(1e-3))
    first = jm.train.sample_batch(task, jax.random.key(0), 4)
    # arrays of one process cannot be handed to the devices of another, NumPy's can
    state = replicate(to_host(trainer.init(jax.random.key(1), first)), mesh)
    key = replicate(to_host(jax.random.key_data(jax.random.key(2))), mesh)

    @jax.jit
    def run(state, data):
        key = jax.random.wrap_key_data(data)
        return jm.fit(trainer, task, state, key, steps=1, batch=4)

    return state, key, run


def _steps(folder: Path | None, steps: int) -> dict:
    """Trains to `steps`, from the newest checkpoint in `folder`, one saved a step."""
    import jax
    import numpy as np

    from jaxmeta.runs import checkpoints
    from jaxmeta.runs.writer import to_host

    state, key, run = _problem()
    like = jax.eval_shape(lambda: state), ()
    if folder is not None:
        found = checkpoints.restore(folder, like)
        if found is not None:
            from jaxmeta.train.sharding import replicate, task_mesh

            state = replicate(to_host(found.state), task_mesh())
    while int(state.step) < steps:
        state, _ = run(state, key)
        if folder is not None:
            host = checkpoints.Snapshot(to_host(state), (), jax.random.key(2), {})
            checkpoints.save(folder, int(state.step), host)
    host = to_host(state)
    norm = float(sum(np.square(x).sum() for x in jax.tree.leaves(host.meta)) ** 0.5)
    return {"hash": digest(host), "norm": norm}


def _rank(rank: int, port: int, folder: str, steps: int) -> dict:
    import jax

    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        num_processes=2,
        process_id=rank,
        heartbeat_timeout_seconds=10,
    )
    return _steps(Path(folder), steps)


def _start(folder: Path, steps: int) -> list[subprocess.Popen]:
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(2):
        asked = json.dumps([rank, port, str(folder / "shared"), steps])
        command = [sys.executable, "-m", "tests.scorecard.fleet", "rank", asked]
        started.append(
            subprocess.Popen(
                command,
                env=environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
    return started


def _pair(folder: Path, steps: int) -> list[dict]:
    outs = [process.communicate(timeout=600)[0] for process in _start(folder, steps)]
    # Gloo writes its own lines to stdout
    lines = [[x for x in out.splitlines() if x.startswith("{")] for out in outs]
    return [json.loads(found[-1]) for found in lines if found]


def _kill_one(folder: Path, steps: int) -> tuple[float, list[int]]:
    first, second = _start(folder, steps)
    end = time.monotonic() + 300
    while time.monotonic() < end and not list((folder / "shared").glob("0000*[2-9]")):
        if second.poll() is not None:
            raise RuntimeError("a rank ended before its second checkpoint")
        time.sleep(0.01)
    os.kill(second.pid, signal.SIGKILL)
    start = time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        first.wait(timeout=90)
    took = time.monotonic() - start
    if first.poll() is None:
        first.kill()
    return took, [first.wait() if took < 90 else 0, second.wait()]


def main(word: str, argument: str) -> dict:
    given = json.loads(argument)
    if word == "devices":
        return _devices(*given)
    if word == "rank":
        return _rank(*given)
    import jax

    jax.config.update("jax_num_cpu_devices", 2)
    return _steps(None, given)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2])))
