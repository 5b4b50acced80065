"""What fraction of the machine a meta-gradient uses.

    python -m benchmarks.roofline              # writes results/roofline.json

In one run: the largest rate of a matrix product and of a copy that JAX reaches here, and
the throughput of MAML. The work of MAML is counted as direct convolutions would do it
(Winograd does less), the traffic as XLA reports it for the compiled program.
"""

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks import common, throughput

RESULT = Path(__file__).parent / "results" / "roofline.json"


def seconds(function, repeats: int = 7) -> float:

    function()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        function()
        times.append(time.perf_counter() - begin)
    return common.median(times)


def gemm(size: int = 3072, dtype=jnp.float32) -> float:
    """FLOP/s of a square matrix product."""
    a = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda a: a @ a)
    return 2 * size**3 / seconds(lambda: product(a).block_until_ready())


def copy(megabytes: int = 512) -> float:
    """Bytes/s read and written by y = x + 1."""
    x = jnp.zeros(megabytes * 2**18, jnp.float32)
    add = jax.jit(lambda x: x + 1)
    return 2 * x.nbytes / seconds(lambda: add(x).block_until_ready())


def forward_flops(side: int, channels: int, filters: int, blocks: int = 4) -> int:
    """Of one image through Conv4: 2 x 9 x height x width x channels x filters a block."""
    total = 0
    for _ in range(blocks):
        total += 2 * 9 * side * side * channels * filters
        side, channels = side // 2, filters
    return total


def task_flops(case) -> int:
    """A gradient is three passes; an inner gradient is differentiated again: six more."""
    support, query = 5, 5 * 15
    one = forward_flops(case["side"], case["channels"], case["filters"])
    return one * (3 * query + 9 * case["steps"] * support)


def main() -> None:
    host = common.machine()
    peak, rate = gemm(), copy()
    rows = {}
    for name in ("maml-1", "maml-5"):
        case = throughput.CASES[name] | {"tasks": 16}

        run, _ = throughput.ours(case)
        tasks_per_second = case["tasks"] / seconds(run)
        flops = task_flops(case) * tasks_per_second
        rows[name] = {
            "tasks_per_second": round(tasks_per_second, 2),
            "gflops_as_direct_convolution": round(flops / 1e9, 1),
            "fraction_of_gemm_peak": round(flops / peak, 3),
        }
    found = {
        "machine": host,
        "gemm_gflops": round(peak / 1e9, 1),
        "copy_gb_per_s": round(rate / 1e9, 1),
        "rows": rows,
    }
    print(json.dumps(found, indent=1))
    RESULT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
