"""What checkpoints cost a run of ten minutes at the default interval, a tenth of the run.

    python -m benchmarks.checkpoint_cost            # one save, for three sizes of state
    python -m benchmarks.checkpoint_cost --run 600  # and a run of ten minutes

One save is the seconds that the loop waits (the copy to the host, and the save before if
it is still being written), and the seconds of processor time that the writing takes beside
it. A run saves ten times; the share of ten minutes assumes the worst, one core, on which
both delay the run.

The run of ten minutes is `jaxmeta train glyphs-maml-5w1s`, its steps chosen for the time,
in which every save is waited for until it is on the disk. What all of them take, of the
time from the first step to the last, is then more than they cost a run that goes on
meanwhile.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import jax

from jaxmeta.runs import training
from jaxmeta.runs.checkpoints import Snapshot
from jaxmeta.runs.fingerprint import fingerprint
from jaxmeta.runs.job import build
from jaxmeta.runs.making import make
from jaxmeta.runs.registry import known
from jaxmeta.runs.settings import Settings
from jaxmeta.runs.writer import Writer

SAVES, SECONDS, REPEATS = 10, 600, 5
OUT = Path(__file__).parent / "results" / "checkpoint_cost.json"
LARGE = {"network": "mlp", "hidden": (2048, 1024)}
RECIPE = "glyphs-maml-5w1s"
CASES = {
    "mlp 40-40 (sinusoid-maml)": ("sinusoid-maml", {}),
    "conv4, 64 filters (glyphs-maml-5w1s)": (RECIPE, {"filters": 64}),
    "mlp 2048-1024, 3.7 million parameters": (RECIPE, LARGE),
}
"""Name -> a recipe, and its options."""


def cost(recipe: str, options: dict) -> dict:
    """One save of a recipe's state: medians of a few."""
    job = build(make(known()[recipe], options), Settings())
    state = jax.block_until_ready(job.start(jax.random.key(0)))
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


class Timed(Writer):
    """A writer that waits for each save, and knows how long they took."""

    seconds: list[float] = []  # noqa: RUF012 (one run has one writer)

    def save(self, step: int, snapshot: Snapshot) -> None:
        start = time.perf_counter()
        super().save(step, snapshot)
        self.wait()
        self.seconds.append(time.perf_counter() - start)


def whole_run(seconds: float) -> dict:
    """Trains for about `seconds` with the default interval, each save waited for."""
    settings = {"validate_every": 0, "episodes": 2, "keep": "last"}
    chunk = Settings().chunk
    found = {}
    training.Writer = Timed
    with tempfile.TemporaryDirectory() as folder:
        for name, steps in (("short", 100), ("long", 0)):
            Timed.seconds.clear()
            if name == "long":
                rate = found["steps"] / found["train_seconds"]
                steps = int(rate * seconds / chunk) * chunk
            out = Path(folder) / name
            training.train(known()[RECIPE], out=out, say=str, steps=steps, **settings)
            found = json.loads((out / "result.json").read_text())
    # train_seconds are those of the chunks alone: saves come between them
    saves, spent = list(Timed.seconds), found["train_seconds"]
    return {
        "recipe": RECIPE,
        "steps": found["steps"],
        "minutes": round((spent + sum(saves)) / 60, 2),
        "saves": len(saves),
        "save_s": [round(x, 3) for x in saves],
        "percent": round(100 * sum(saves) / (spent + sum(saves)), 3),
        # a run of any length saves as often
        "percent_of_10_minutes": round(100 * sum(saves) / SECONDS, 3),
        "load_average": round(os.getloadavg()[1], 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=float, help="seconds of a run, 600 for the claim")
    args = parser.parse_args()
    found = {"cases": {name: cost(*case) for name, case in CASES.items()}}
    if args.run:
        found["run"] = whole_run(args.run)
    text = json.dumps({**found, "fingerprint": fingerprint()}, indent=2)
    OUT.write_text(text + "\n")
    print(json.dumps(found, indent=2))
