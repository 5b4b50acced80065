"""How long a program takes to compile, and to start when it is in the cache.

    python -m benchmarks.compile_time          # writes results/compile_time.json

Second-order MAML on Conv4-64, 28x28, 5-way 1-shot, 15 queries a class (one, with
strides), 32 tasks. Each figure is of a fresh process, "warm" the median of three: "trace"
(Python to StableHLO), "compile" (XLA, or reading the cache), and "start", from the first
line of the program to the first gradient, imports included. "memory" is the most that the
process held above its imports, and "step" the median processor seconds of five gradients
after the first.

"plain" is cold, too, under XLA_FLAGS=--xla_cpu_use_fusion_emitters=false: XLA:CPU then
writes the loops of fused operations without MLIR, as it did before.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "compile_time.json"
CASES = ("maml-1", "maml-5", "strided-maml-1")
PLAIN = "--xla_cpu_use_fusion_emitters=false"


def peak() -> int:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def child(name: str) -> None:
    begin = time.perf_counter()
    import jax

    import jaxmeta as jm
    from benchmarks import throughput

    case, imported = throughput.CASES[name], peak()
    model, meta, arrays = throughput.problem(**case)
    tasks, key = throughput.episodes(arrays, case.get("ways", 5)), jax.random.key(0)
    learner = jm.maml(model, throughput.optax.sgd(throughput.RATE), steps=case["steps"])
    gradient = jax.jit(lambda *args: jm.meta_gradient(learner, *args))
    ready = time.perf_counter()
    lowered = gradient.lower(meta, tasks, key)
    traced = time.perf_counter()
    program = lowered.compile()
    compiled = time.perf_counter()
    jax.block_until_ready(program(meta, tasks, key))
    end, most, steps = time.perf_counter(), peak(), []
    for _ in range(5):
        used = time.process_time()
        jax.block_until_ready(program(meta, tasks, key))
        steps.append(time.process_time() - used)
    print(json.dumps({
        "imports_and_data": ready - begin, "trace": traced - ready,
        "compile": compiled - traced, "first_step": end - compiled,
        "trace_and_compile": compiled - ready, "start": end - begin,
        "memory_mb": most - imported, "step": statistics.median(steps),
    }))  # fmt: skip


def measure(name: str, cache: str, flags: str = "") -> dict[str, float]:
    settings = {
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.compile_time", name],
        capture_output=True, text=True, check=True, env={**os.environ, **settings},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    return {key: round(value, 2) for key, value in found.items()}


def main() -> None:
    if len(sys.argv) > 1:
        child(sys.argv[1])
        return
    from benchmarks import common

    rows = {"machine": common.machine()}
    for name in CASES:
        with tempfile.TemporaryDirectory() as cache:
            rows[name] = {"cold": measure(name, cache)}
            warm = [measure(name, cache) for _ in range(3)]
            rows[name]["warm"] = {
                k: statistics.median(w[k] for w in warm) for k in warm[0]
            }
        with tempfile.TemporaryDirectory() as cache:
            rows[name]["plain"] = measure(name, cache, PLAIN)
        print(name, rows[name], flush=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
