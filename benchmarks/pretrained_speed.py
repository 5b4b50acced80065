"""How fast EfficientNet-Lite0 embeds pictures, beside PyTorch on the same cores.

    python -m benchmarks.pretrained_speed WEIGHTS.safetensors PYTHON

PYTHON is one that has torch and timm: this process and one of it take turns, so that what
else the machine does meets both. Times are seconds of computing of all threads as well as
of the clock; the former stays meaningful where the machine is shared.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxmeta as jm

RESULT = Path(__file__).parent / "results" / "pretrained_speed.json"
PICTURES, BLOCK, ROUNDS = 32, 4, 3
TORCH = """
import sys, time, timm, torch
net = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
for line in sys.stdin:
    x = torch.rand({n}, 3, int(line), int(line))
    times = []
    with torch.no_grad():
        for _ in range(2):
            cpu, clock = time.process_time(), time.perf_counter()
            net(x)
            times.append((time.process_time() - cpu, time.perf_counter() - clock))
    print(*min(times), flush=True)
"""


def ours(path):
    model, meta = jm.models.load(path)

    @jax.jit
    def embed(meta, x):  # a few pictures at a time stay in the cache
        blocks = x.reshape(-1, BLOCK, *x.shape[1:])
        return jax.lax.map(lambda some: model.apply(meta, some)[0], blocks)

    def run(side):
        draw = np.random.default_rng(0)
        x = jnp.asarray(draw.uniform(size=(PICTURES, side, side, 3)), "float32")
        embed(meta, x).block_until_ready()
        times = []
        for _ in range(2):
            cpu, clock = time.process_time(), time.perf_counter()
            embed(meta, x).block_until_ready()
            times.append((time.process_time() - cpu, time.perf_counter() - clock))
        return min(times)

    return run


def main(path, python):
    run, code = ours(path), TORCH.replace("{n}", str(PICTURES))
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    results = {}
    with subprocess.Popen([python, "-c", code], **pipes) as other:
        for side in (144, 224):
            rounds = {"jaxmeta": [], "torch": []}
            for _ in range(ROUNDS):
                rounds["jaxmeta"].append(run(side))
                other.stdin.write(f"{side}\n")
                other.stdin.flush()
                found = other.stdout.readline().split()
                rounds["torch"].append(tuple(map(float, found)))
            found = {
                name: {
                    "pictures_per_core_second": PICTURES / min(t[0] for t in times),
                    "pictures_per_second": PICTURES / min(t[1] for t in times),
                }
                for name, times in rounds.items()
            }
            ratios = [t[0] / o[0] for o, t in zip(*rounds.values(), strict=True)]
            found["times_as_many_per_core_second"] = sorted(ratios)[ROUNDS // 2]
            print(side, found, flush=True)
            results[str(side)] = found
        other.stdin.close()
    RESULT.write_text(
        json.dumps({"batch": PICTURES, "sides": results}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
