"""What checkpoints cost a run of ten minutes at the default interval, a tenth of the run.

    python -m benchmarks.checkpoint_cost

A run saves ten times. Measured is one save: the seconds that the loop waits (the copy to
the host, and the save before if it is still being written), and the seconds of processor
time that the writing takes beside it. The share of ten minutes assumes the worst, one
core, on which both delay the run.
"""

import dataclasses
import json
import statistics
import tempfile
import time
from pathlib import Path

import jax

from jaxmeta.runs import RECIPES
from jaxmeta.runs.build import build, init_state
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.fingerprint import fingerprint
from jaxmeta.runs.writer import Writer

SAVES, SECONDS, REPEATS = 10, 600, 5
CASES = {
    "mlp 40-40 (sinusoid-maml)": RECIPES["sinusoid-maml"],
    "conv4, 64 filters (glyphs-maml-5w1s)": dataclasses.replace(
        RECIPES["glyphs-maml-5w1s"], filters=64
    ),
    "mlp 2048-1024, 3.7 million parameters": dataclasses.replace(
        RECIPES["glyphs-maml-5w1s"], model="mlp", hidden=(2048, 1024), norm="none"
    ),
}


def cost(recipe) -> dict:
    job = build(recipe)
    state = jax.block_until_ready(init_state(job, jax.random.key(0)))
    size = sum(x.nbytes for x in jax.tree.leaves((state, state.meta)))
    waits, writes = [], []
    with tempfile.TemporaryDirectory() as folder:
        writer = Writer(Path(folder) / "checkpoints")
        for step in range(REPEATS + 1):
            snapshot = Snapshot(state, state.meta, jax.random.key(0), {"best": None})
            start, work = time.perf_counter(), time.process_time()
            writer.save(step, snapshot)
            waits.append(time.perf_counter() - start)
            writer.wait()
            writes.append(time.process_time() - work)
    # the first one imports Orbax
    wait, write = statistics.median(waits[1:]), statistics.median(writes[1:])
    first = max(0.0, writes[0] - write)
    return {
        "megabytes": round(size / 1e6, 3),
        "loop_waits_s": round(wait, 4),
        "processor_s": round(write, 4),
        "first_save_extra_s": round(first, 3),
        "percent_of_10_minutes": round(100 * (SAVES * write + first) / SECONDS, 3),
    }


if __name__ == "__main__":
    found = {name: cost(recipe) for name, recipe in CASES.items()}
    out = Path(__file__).parent / "results" / "checkpoint_cost.json"
    text = json.dumps({"cases": found, "fingerprint": fingerprint()}, indent=2)
    out.write_text(text + "\n")
    print(json.dumps(found, indent=2))
