"""Tasks a second, beside PyTorch, in one run.

    pip install torch==2.13.0                              # the rivals; see rivals.py
    pip install --no-deps higher==0.2.1 torchopt==0.7.3 && pip install optree graphviz
    python -m benchmarks.throughput [CASE ...] [--seconds 60]   # from the project's root
    python -m benchmarks.throughput --table

Every case gives both sides the same arrays, compares their gradients in float64, then
times them in float32, in turn, each in a process of its own, and reports medians;
compiling is not counted. "jaxmeta"
is one device that uses every core, "jaxmeta, sharded" one device a core, both with memory
in large pages, as the command has it; "heap kept" is PyTorch with large pages and an
allocator that gives nothing back, its best case. Run it on an idle
machine. Results are added to results/throughput.json.
"""

import argparse
import importlib.util
import json
import os
import resource
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from benchmarks import common
from jaxmeta.train.sharding import map_over_mesh

RESULT = Path(__file__).parent / "results" / "throughput.json"
RATE = 0.4
OUTER = 0.01  # of ProtoNet's training steps
OURS = ("jaxmeta", "jaxmeta, sharded")
KEPT = "torch loop, heap kept"
LOOP = ("torch loop", KEPT)
ALL = (*LOOP, "torch.func", "higher", "torchopt")
OMNIGLOT = dict(side=28, channels=1, filters=64)
MINI = dict(side=84, channels=3, filters=32)
CASES = {
    "maml-1": dict(**OMNIGLOT, tasks=32, steps=1, rivals=(*LOOP, "torch.func")),
    "maml-5": dict(**OMNIGLOT, tasks=32, steps=5, rivals=LOOP),
    "maml-1-4": dict(**OMNIGLOT, tasks=4, steps=1, rivals=ALL),
    "maml-5-4": dict(**OMNIGLOT, tasks=4, steps=5, rivals=ALL),
    "maml-1-256": dict(**OMNIGLOT, tasks=256, steps=1, rivals=LOOP),
    "maml-5-256": dict(**OMNIGLOT, tasks=256, steps=5, rivals=LOOP),
    "fomaml-1": dict(**OMNIGLOT, tasks=32, steps=1, first=True, rivals=LOOP),
    "fomaml-5": dict(**OMNIGLOT, tasks=32, steps=5, first=True, rivals=LOOP),
    "strided-maml-1": dict(
        **OMNIGLOT, network="strided", tasks=32, steps=1, queries=1, rivals=LOOP
    ),
    "mini-maml-1": dict(**MINI, tasks=4, steps=1, rivals=LOOP),
    "mini-maml-5": dict(**MINI, tasks=4, steps=5, rivals=LOOP),
    "protonet": dict(
        **OMNIGLOT, kind="protonet", tasks=8, ways=20, queries=5, rivals=LOOP
    ),
    "mini-protonet": dict(
        **{**MINI, "filters": 64}, kind="protonet", tasks=2, ways=20, queries=5,
        rivals=LOOP,
    ),
    "resnet12-maml-1": dict(
        **MINI, network="resnet12", tasks=1, steps=1, queries=5, rivals=LOOP
    ),
    "resnet12-protonet": dict(
        **MINI, network="resnet12", kind="protonet", tasks=1, queries=5, rivals=LOOP
    ),
    "evaluate": dict(**OMNIGLOT, kind="evaluate", tasks=600, steps=1, rivals=LOOP),
    "flat-8": dict(**OMNIGLOT, tasks=8, steps=1, rivals=()),
    "flat-32": dict(**OMNIGLOT, tasks=32, steps=1, rivals=()),
    "flat-256": dict(**OMNIGLOT, tasks=256, steps=1, rivals=()),
    "sampling": dict(**OMNIGLOT, kind="sampling", tasks=32, steps=1, rivals=()),
}  # fmt: skip


def network(ways, *, network="conv4", filters, **_) -> jm.Model:
    """That of a case, with a head of so many classes or none."""
    if network == "conv4":
        return jm.models.conv4(ways, filters=filters)
    if network == "strided":
        return jm.models.conv4(ways, filters=filters, downsample="stride")
    return jm.models.resnet12(ways, norm="batch", drop_rate=0.0)


def problem(*, tasks, side, channels, ways=5, shots=1, queries=15, dtype=np.float32,
            **more):  # fmt: skip
    """A model, its parameters and tasks, as NumPy arrays: all that both sides know."""
    draw = np.random.default_rng(0)

    def batch(n):
        shape = (tasks, n * ways, side, side, channels)
        images = draw.random(shape, np.float32).astype(dtype)
        return images, np.tile(np.repeat(np.arange(ways), n), (tasks, 1))

    model = network(ways, **more)
    xs, ys = batch(shots)
    xq, yq = batch(queries)
    meta = model.init(jax.random.key(0), xs[0])
    meta = jax.tree.map(lambda x: x.astype(dtype), meta)
    return model, meta, (xs, ys, xq, yq)


def episodes(arrays, ways=5) -> jm.Episode:
    xs, ys, xq, yq = map(jnp.asarray, arrays)
    support, query = (jax.nn.one_hot(y, ways, dtype=xs.dtype) for y in (ys, yq))
    return jm.Episode(jm.Batch(xs, support), jm.Batch(xq, query))


def named(params) -> dict:
    names = jax.tree.leaves(jm.tree.paths(params))
    return dict(zip(names, map(np.asarray, jax.tree.leaves(params)), strict=True))


# one side of a case: a function of nothing that returns what is to agree


def ours(case, sharded=False):
    """The program of a case, compiled; its arguments; its temporary memory in MB."""
    model, meta, arrays = problem(**case)
    key, kind = jax.random.key(0), case.get("kind", "maml")
    mesh = jm.train.task_mesh() if sharded else None
    if kind == "sampling":
        shape = (4112, 20, case["side"], case["side"], case["channels"])
        images = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
        data = jm.data.from_classes({str(i): x for i, x in enumerate(images)})
        task = jm.tasks.few_shot(data, 5, 1, 15)

        def program(task, key):
            return jax.vmap(task)(jax.random.split(key, case["tasks"]))

        return compiled(program, task, key)
    tasks = episodes(arrays, case.get("ways", 5))
    if kind == "protonet":
        params = {name: leaf for name, leaf in meta.params.items() if name != "head"}
        learner = jm.protonet(network(**{**case, "ways": None}))
        meta = meta._replace(params=params)
        trainer = jm.make_trainer(jm.episodic(learner), optax.sgd(OUTER))
        state = trainer.init(key, jax.tree.map(lambda x: x[:1], tasks))

        def program(meta, tasks):
            def step(state, task):
                batch = jax.tree.map(lambda x: x[None], task)
                return trainer.step(state, batch, key)[0], None

            return jax.lax.scan(step, state._replace(meta=meta), tasks)[0].meta.params

        return compiled(program, meta, tasks)
    else:
        gradient = jm.gradients.unrolled(last=0 if case.get("first") else None)
        learner = jm.maml(
            model, optax.sgd(RATE), steps=case["steps"], gradient=gradient
        )
    if kind == "evaluate":

        def one(meta, task):
            fast = learner.adapt(meta, task.support, key)
            outputs = learner.predict(meta, fast, task.query.inputs)
            return jm.metrics.accuracy(outputs, task.query.targets)

        def program(meta, tasks):
            return map_over_mesh(one, mesh)(meta, tasks).mean()  # as `evaluate` does

        return compiled(program, meta, tasks)
    objective = jm.episodic(learner, mesh=mesh)
    gradient = lambda *args: objective.value_and_grad(*args)[1]  # noqa: E731
    return compiled(gradient, meta, tasks, key)


def compiled(program, *args):
    program = jax.jit(program).lower(*args).compile()
    megabytes = program.memory_analysis().temp_size_in_bytes / 2**20
    return lambda: jax.block_until_ready(program(*args)), megabytes


def theirs(case, name):
    import torch

    from benchmarks import rivals

    torch.set_num_threads(common.cores())
    _, meta, arrays = problem(**case)
    params = {
        n: rivals.to_torch(n, x).requires_grad_() for n, x in named(meta.params).items()
    }
    xs, ys, xq, yq = arrays
    labels = [torch.tensor(y) for y in (ys, yq)]
    tasks = rivals.images(xs), labels[0], rivals.images(xq), labels[1]
    kind = case.get("kind", "maml")
    if kind == "evaluate":
        return lambda: rivals.evaluate(params, tasks, steps=case["steps"])
    features = rivals.FEATURES[case.get("network", "conv4")]
    if kind == "protonet":
        run = lambda: rivals.train_protonet(params, tasks, features)  # noqa: E731
    else:
        options: dict = dict(steps=case["steps"], first=case.get("first", False))
        if name in LOOP:
            options["features"] = features
        run = lambda: rivals.MAML[name.split(",")[0]](params, tasks, **options)  # noqa: E731
    return lambda: {n: rivals.to_numpy(n, x) for n, x in run().items()}


def work(case, side, folder):
    """A worker: leaves its result on two tasks, in float64, then runs rounds."""
    resting = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    facts = {}
    if side in OURS:
        run, megabytes = ours(case, side != "jaxmeta")
        facts["temporary_mb"] = round(megabytes, 1)
    else:
        run = theirs(case, side)
    run()
    top = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    facts["peak_mb"] = round((top - resting) / 1024)
    if case.get("kind") != "sampling":
        double = case | {
            "dtype": np.float64,
            "tasks": min(case["tasks"], common.cores()),
        }
        with jax.enable_x64(True):
            if side in OURS:
                found = ours(double, side != "jaxmeta")[0]()
            else:
                found = theirs(double, side)()
        found = named(found) if isinstance(found, dict) else {"": np.asarray(found)}
        np.savez(
            Path(folder) / side, **{n.replace("/", ":"): x for n, x in found.items()}
        )
    common.serve(run, facts)


# the comparison


def installed(side: str) -> bool:
    module = side if side in ("higher", "torchopt") else "torch"
    return side in OURS or importlib.util.find_spec(module) is not None


def disagreement(folder: Path, one: str, other: str) -> float:
    """The largest relative error of a leaf."""
    a, b = (dict(np.load(folder / f"{name}.npz")) for name in (one, other))
    return max(
        float(np.linalg.norm(a[n] - b[n]) / max(np.linalg.norm(b[n]), 1e-30)) for n in b
    )


def measure(name: str, seconds: float) -> dict:
    case = CASES[name]
    kind = case.get("kind", "maml")
    sides = [*(OURS if kind in ("maml", "evaluate") else OURS[:1]), *case["rivals"]]
    missing = [side for side in sides if not installed(side)]
    sides = [side for side in sides if side not in missing]
    host = common.machine()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.throughput", name]
        command += ["--folder", folder, "--worker"]
        workers = {
            side: common.Worker([*command, side], environment(side, folder))
            for side in sides
        }
        errors = {
            side: disagreement(Path(folder), side, "jaxmeta")
            for side in sides[1:]
            if kind != "sampling"
        }
        for side, error in errors.items():
            if error > 1e-8:
                raise SystemExit(f"{name}, {side}: differs by {error:.1e}, relative")
        times = common.alternate(workers, repeats=60, seconds=seconds)
        facts = {side: worker.facts for side, worker in workers.items()}
        for worker in workers.values():
            worker.close()
        if case["rivals"]:
            # once more, with the programs in the cache: no compiler in this process
            again = common.Worker([*command, OURS[0]], environment(OURS[0], folder))
            facts["jaxmeta, from the cache"] = again.facts
            again.close()
    rates = {side: case["tasks"] / common.median(t) for side, t in times.items()}
    mine = [side for side in OURS if side in rates]
    return {
        "case": case,
        "machine": host | versions(),
        "seconds": {side: [round(t, 4) for t in ts] for side, ts in times.items()},
        "tasks_per_second": {side: round(r, 2) for side, r in rates.items()},
        "ratio": {
            side: {rival: round(rates[side] / rates[rival], 2) for rival in rates}
            for side in mine
        },
        "relative_error": errors,
        "memory": facts,
        "not_installed": missing,
    }


def versions() -> dict[str, str]:
    """Of the rivals that are installed."""
    names = ("torch", "higher", "torchopt")
    found = {name: name for name in names if importlib.util.find_spec(name)}
    return {name: metadata.version(name) for name in found}


def environment(side: str, folder: str) -> dict[str, str]:
    # as `jaxmeta train` starts itself; PyTorch at its best has them, too
    pages = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    if side == KEPT:
        # glibc gives large blocks back at once, and PyTorch asks for them again: not
        # its default, but what a user could do for it
        keep = f"{1 << 32}"
        return {
            "MALLOC_MMAP_THRESHOLD_": keep,
            "MALLOC_TRIM_THRESHOLD_": keep,
            **pages,
        }
    if side == OURS[0]:
        return {"JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "cache"), **pages}
    if side != OURS[1]:
        return {}
    flags = os.environ.get("XLA_FLAGS", "")
    count = f"--xla_force_host_platform_device_count={common.cores()}"
    # a core has its own tasks: no operation is split over cores
    split = "--xla_cpu_multi_thread_eigen=false"
    return {"XLA_FLAGS": f"{flags} {count} {split}", **pages}


def table(rows: dict) -> str:
    sides = [*OURS, *ALL]
    lines = [
        f"| case | tasks | {' | '.join(sides)} | sharded / torch loop | / heap kept |",
        "|---" * (len(sides) + 4) + "|",
    ]
    for name, row in rows.items():
        rates = row["tasks_per_second"]
        best = row["ratio"].get(OURS[1], row["ratio"][OURS[0]])
        cells = [_rate(rates[s]) if s in rates else "" for s in sides]
        cells += [f"{best[s]:.2f}" if s in best else "" for s in LOOP]
        lines.append(f"| {name} | {row['case']['tasks']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _rate(x: float) -> str:
    return f"{x:.1f}" if x >= 1 else f"{x:.2f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all of them")
    parser.add_argument("--seconds", type=float, default=60.0, help="for a case")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true", help="print the kept results")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(CASES[args.cases[0]], args.worker, args.folder)
        return
    rows = json.loads(args.out.read_text())["rows"] if args.out.exists() else {}
    if args.table:
        print(table(rows))
        return
    for name in args.cases or CASES:
        rows[name] = measure(name, args.seconds)
        print(table({name: rows[name]}).splitlines()[-1], flush=True)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
