"""How long a program takes to compile, and to start when it is in the cache.

    python -m benchmarks.compile_time          # writes results/compile_time.json

Second-order MAML on Conv4-64, 28x28, 5-way 1-shot, 15 queries a class, 32 tasks. Each
figure is a fresh process: "trace" (Python to StableHLO), "compile" (XLA, or reading the
cache), and "start", from the first line of the program to the first gradient, imports
included.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "compile_time.json"
CASES = ("maml-1", "maml-5")


def child(name: str) -> None:
    begin = time.perf_counter()
    import jax

    import jaxmeta as jm
    from benchmarks import throughput

    case = throughput.CASES[name]
    model, meta, arrays = throughput.problem(**case)
    tasks, key = throughput.episodes(arrays), jax.random.key(0)
    learner = jm.maml(model, throughput.optax.sgd(throughput.RATE), steps=case["steps"])
    gradient = jax.jit(lambda *args: jm.meta_gradient(learner, *args))
    ready = time.perf_counter()
    lowered = gradient.lower(meta, tasks, key)
    traced = time.perf_counter()
    program = lowered.compile()
    compiled = time.perf_counter()
    jax.block_until_ready(program(meta, tasks, key))
    end = time.perf_counter()
    print(json.dumps({
        "imports_and_data": ready - begin, "trace": traced - ready,
        "compile": compiled - traced, "first_step": end - compiled,
        "trace_and_compile": compiled - ready, "start": end - begin,
    }))  # fmt: skip


def measure(name: str, cache: str) -> dict[str, float]:
    settings = {
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
            rows[name] = {way: measure(name, cache) for way in ("cold", "warm")}
        print(name, rows[name], flush=True)
    RESULT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
