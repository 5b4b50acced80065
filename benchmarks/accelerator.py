"""Tasks a second on a GPU, beside PyTorch there, and how near the machine's limits.

    python -m benchmarks.accelerator [--out FILE] [--seconds 8] [--rows K-B ...]

Second-order MAML as in throughput.py (Conv4-64, 28x28, 5-way 1-shot, 15 queries a class,
K inner steps, B tasks). Every gradient is first compared with the float64 gradient of the
CPU. Then each side, in a process of its own, in turn: "jaxmeta", "torch.func" (vmap of
grad) and the Python loop, in float32 ("fp32": full precision everywhere), TF32 and
bfloat16 (operands; parameters and statistics stay float32). The limit by memory counts
the bytes that float32 or bfloat16 activations need, at the copy rate measured here.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "accelerator.json"
ROWS = ("1-32", "1-256", "5-32", "5-256")
PARTS = ("agreement", "peaks", "rows")
PRECISIONS = ("fp32", "tf32", "bf16")
SIDES = ("jaxmeta", "torch.func", "torch loop")
CHUNK = 256  # tasks side by side, at most
MEGABYTES = {1: 198, 5: 353}  # a task's traffic in float32, by the number of steps
TASKS = 4  # of the comparison of gradients


def case(steps: int, tasks: int) -> dict:
    from benchmarks import throughput

    return dict(**throughput.OMNIGLOT, tasks=tasks, steps=steps)


def jax_gradient(steps, tasks, precision, dtype):
    """The compiled meta-gradient, its arguments, and seconds of compilation."""
    import jax
    import optax

    import jaxmeta as jm
    from benchmarks import throughput

    model, meta, arrays = throughput.problem(**case(steps, tasks), dtype=dtype)
    if precision == "bf16":
        model = jm.models.half_precision(model)
    learner = jm.maml(model, optax.sgd(throughput.RATE), steps=steps)
    objective = jm.episodic(learner, chunk=min(tasks, CHUNK))
    args = jax.device_put((meta, throughput.episodes(arrays), jax.random.key(0)))
    level = "highest" if precision == "fp32" else "default"
    begin = time.perf_counter()
    with jax.default_matmul_precision(level):
        program = jax.jit(lambda *a: objective.value_and_grad(*a)[1]).lower(*args)
        program = program.compile()
    return program, args, time.perf_counter() - begin


def jax_side(steps, tasks, precision):
    import jax
    import numpy as np

    program, args, seconds = jax_gradient(steps, tasks, precision, np.float32)
    memory = program.memory_analysis().temp_size_in_bytes
    facts = {
        "compile_seconds": round(seconds, 1),
        "temporary_mb": round(memory / 2**20),
    }
    return lambda: jax.block_until_ready(program(*args)), facts


def torch_side(side, steps, tasks, precision):
    import numpy as np
    import torch

    from benchmarks import rivals, throughput

    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True
    _, meta, (xs, ys, xq, yq) = throughput.problem(
        **case(steps, tasks), dtype=np.float32
    )
    params = {
        n: rivals.to_torch(n, x).cuda().requires_grad_()
        for n, x in throughput.named(meta.params).items()
    }
    data = rivals.images(xs), torch.tensor(ys), rivals.images(xq), torch.tensor(yq)
    data = [x.cuda() for x in data]

    def run():
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16"):
            found = rivals.MAML[side](params, data, steps=steps)
        torch.cuda.synchronize()
        return found

    return run, {}


def work(side, steps, tasks, precision):
    """A worker: says that it is ready, then times as many calls as it is told to."""
    make = jax_side if side == "jaxmeta" else lambda *a: torch_side(side, *a)
    run, facts = make(steps, tasks, precision)
    for _ in range(2):
        run()
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        begin = time.perf_counter()
        for _ in range(int(line)):
            run()
        print(time.perf_counter() - begin, flush=True)


def measure(row: str, precision: str, sides, seconds: float) -> dict:
    """Tasks a second of each side, medians of alternating rounds."""
    from benchmarks import common

    steps, tasks = map(int, row.split("-"))
    command = [sys.executable, "-m", "benchmarks.accelerator", "--worker"]
    calls, times, failed = {}, {}, {}

    def start(side):
        try:
            return common.Worker([*command, side, row, precision], {})
        except RuntimeError as error:
            failed[side] = str(error)

    with ThreadPoolExecutor() as pool:  # they compile at once, and run in turn
        workers = dict(zip(sides, pool.map(start, sides), strict=True))
    workers = {side: worker for side, worker in workers.items() if worker}
    for side, worker in workers.items():
        once = max(worker.round("1"), 1e-4)
        calls[side], times[side] = max(1, round(0.25 / once)), []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds or not all(map(len, times.values())):
        for side, worker in workers.items():
            times[side].append(worker.round(str(calls[side])) / calls[side])
    for worker in workers.values():
        worker.close()
    return {
        "steps": steps, "tasks": tasks, "precision": precision,
        "tasks_per_second": {
            s: round(tasks / common.median(t), 1) for s, t in times.items()
        },
        "rounds": {s: len(t) for s, t in times.items()},
        "facts": {s: w.facts for s, w in workers.items()}, "failed": failed,
    }  # fmt: skip


def agreement() -> dict:
    """Relative errors of GPU gradients, by steps and precision, against the CPU's float64."""
    import jax
    import numpy as np

    found = {}
    for steps in (1, 2):
        with jax.enable_x64(True):
            with jax.default_device(jax.devices("cpu")[0]):
                program, args, _ = jax_gradient(steps, TASKS, "fp32", np.float64)
                exact = jax.tree.leaves(program(*args))
            double = jax.tree.leaves(_call(steps, "fp32", np.float64))
        rows = {"float64": _error(double, exact)}
        for precision in PRECISIONS:
            low = jax.tree.leaves(_call(steps, precision, np.float32))
            rows[precision] = _error(low, exact)
        found[f"K = {steps}"] = rows
    return found


def _call(steps, precision, dtype):
    program, args, _ = jax_gradient(steps, TASKS, precision, dtype)
    return program(*args)


def _error(found, exact) -> float:
    import numpy as np

    flat = [np.concatenate([np.ravel(x) for x in leaves]) for leaves in (found, exact)]
    error = np.linalg.norm(flat[0] - flat[1]) / np.linalg.norm(flat[1])
    return float(f"{error:.2e}")


def peaks() -> dict:
    """What a matrix product and a copy reach."""
    import jax
    import jax.numpy as jnp

    from benchmarks import roofline

    found = {}
    for name, dtype in (("fp32", "float32"), ("tf32", "float32"), ("bf16", "bfloat16")):
        with jax.default_matmul_precision("highest" if name == "fp32" else "default"):
            rate = roofline.gemm(8192, jnp.dtype(dtype))
        found[f"{name}_tflops"] = round(rate / 1e12, 1)
    return found | {"copy_tb_per_s": round(roofline.copy(4096) / 1e12, 3)}


def limit(steps: int, precision: str, copy: float) -> float:
    """Tasks a second that memory allows."""
    half = 2 if precision == "bf16" else 1
    return copy * 1e12 * half / (MEGABYTES[steps] * 1e6)


def table(found: dict) -> str:
    lines = [
        "| K | tasks | precision | jaxmeta | torch.func | torch loop | / torch.func | "
        "/ torch loop | of the limit by memory |",
        "|---" * 9 + "|",
    ]
    copy = found["peaks"]["copy_tb_per_s"]
    for row in found["rows"].values():
        rates = row["tasks_per_second"]
        mine = rates["jaxmeta"]
        cells = [f"{rates[s]:,.0f}" if s in rates else "" for s in SIDES]
        cells += [f"{mine / rates[s]:.1f}" if s in rates else "" for s in SIDES[1:]]
        share = mine / limit(row["steps"], row["precision"], copy)
        cells = [row["steps"], row["tasks"], row["precision"], *cells, f"{share:.0%}"]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", default=ROWS)
    parser.add_argument("--precisions", nargs="*", default=PRECISIONS)
    parser.add_argument("--seconds", type=float, default=8.0, help="for a row")
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument(
        "--only", action="append", choices=PARTS, help="not all three; may be repeated"
    )
    args = parser.parse_args()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if args.worker:
        side, row, precision = args.worker
        work(side, *map(int, row.split("-")), precision)
        return
    from benchmarks import common

    found = json.loads(args.out.read_text()) if args.out.exists() else {"rows": {}}
    parts = args.only or PARTS
    found["machine"] = common.machine() | {"torch": version("torch")}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for name, measured in (("agreement", agreement), ("peaks", peaks)):
        if name in parts:
            found[name] = measured()
            print(found[name], flush=True)
            args.out.write_text(json.dumps(found, indent=1) + "\n")
    for row in args.rows if "rows" in parts else ():
        for precision in args.precisions:
            # the loop is bound by launching, whatever the tasks and the precision
            alone = row.endswith("-32") and precision == "tf32"
            sides = SIDES if alone else SIDES[:2]
            name = f"{row}-{precision}"
            found["rows"][name] = measure(row, precision, sides, args.seconds)
            one = {"rows": {name: found["rows"][name]}, "peaks": found["peaks"]}
            print(table(one).splitlines()[-1], found["rows"][name]["facts"], flush=True)
            args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
