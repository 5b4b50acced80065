"""Two digits in one image: does learning to read both at once help, and how?

    python -m benchmarks.multitask --data MNIST [--fast] [--out FILE]
    python -m benchmarks.multitask --table                     # the table of the README

MNIST's 10,000 test digits are all there is here: 7,000 make the training pairs, 1,000 the
validation pairs, 2,000 the test pairs; no digit is in two parts. A pair is a left and a right
digit on a canvas of 28x36, overlapping by 20 columns, the brighter pixel counts; it is halved
to 14x18. Every method has the same network and steps and three learning rates, the one with
the best mean validation accuracy over the seeds is judged on the test pairs, once.
"""

import argparse
import functools
import gzip
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

import jaxmeta as jm
from benchmarks import common
from jaxmeta import transfer

HERE = Path(__file__).parent
RESULT = HERE / "results" / "multitask.json"
README = HERE / "README.md"
BEGIN, END = "<!-- multitask: begin -->", "<!-- multitask: end -->"

TASKS = ("left", "right")
PARTS = dict(train=7000, val=1000, test=2000)  # digits
PAIRS = dict(val=4000, test=8000)
HIDDEN = (128, 64)
RATES = (3e-3, 1e-2, 3e-2)
FULL = dict(steps=1500, batch=64, seeds=5, rates=RATES)
FAST = dict(steps=20, batch=16, seeds=2, rates=RATES[:2])
OWN_RATE = 0.025  # of the weights that are learned

METHODS = {
    "single": ("two networks, one a task", None),
    "equal": ("equal weights", transfer.equal_weights()),
    "fixed": ("fixed weights, 0.6 and 0.4", transfer.fixed_weights((0.6, 0.4))),
    "uncertainty": ("uncertainty weighting", transfer.uncertainty()),
    "gradnorm": ("GradNorm", transfer.gradnorm(select=transfer.within("layer2"))),
    "pcgrad": ("PCGrad", transfer.pcgrad()),
    "cagrad": ("CAGrad, c = 0.5", transfer.cagrad(0.5)),
    "mgda": ("MGDA", transfer.mgda()),
}


def digits(root):
    """The digits and labels of each part, mixed by a fixed seed."""
    root = Path(root)
    with gzip.open(root / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(root / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    order = np.random.default_rng(0).permutation(len(images))
    parts, start = {}, 0
    for name, size in PARTS.items():
        rows = order[start : start + size]
        parts[name] = jnp.asarray(images[rows]), jnp.asarray(labels[rows], jnp.int32)
        start += size
    return parts


def pair(images, labels, key):
    """One image of two digits, and both labels."""
    chosen = jax.random.randint(key, (2,), 0, len(images))
    a, b = images[chosen].astype(jnp.float32) / 255
    canvas = jnp.maximum(jnp.pad(a, ((0, 0), (0, 8))), jnp.pad(b, ((0, 0), (8, 0))))
    half = canvas.reshape(14, 2, 18, 2).mean((1, 3))
    rows = jax.nn.one_hot(labels[chosen], 10)
    return jm.Batch(half, dict(zip(TASKS, rows, strict=True)))


def network(tasks):
    heads = {name: jm.models.linear_head(10) for name in tasks}
    return jm.models.mlp(None, hidden=HIDDEN), heads


def only(task, batch):
    return batch._replace(targets={task: batch.targets[task]})


def make(tasks, aggregate, steps):
    objective = transfer.multitask(*network(tasks), aggregate)

    def trainer(rate):
        schedule = optax.cosine_decay_schedule(rate, steps)
        tx = optax.partition(
            {"net": optax.adam(schedule), "weights": optax.adam(OWN_RATE)},
            lambda params: jax.tree.map(
                lambda p: "weights" if p.startswith("weighting") else "net",
                jm.tree.paths(params),
            ),
        )
        return jm.make_trainer(objective, tx)

    return trainer


def accuracies(tasks, state, pairs):
    """`[rates, seeds]` for each task."""
    model = transfer.branched(*network(tasks))

    @jax.jit  # the pairs are an argument: a constant would be folded for seconds
    def every(metas, pairs):
        def one(meta):
            outputs, _ = model.apply(meta, pairs.inputs)
            return {n: jm.metrics.accuracy(outputs[n], pairs.targets[n]) for n in tasks}

        return jax.vmap(jax.vmap(one))(metas)

    return every(state.meta, pairs)


def run(tasks, aggregate, parts, held, sizes):
    """Validation and test accuracy of every rate and seed, and the falling loss."""
    keys = jax.random.split(jax.random.key(1), sizes["seeds"])
    draw = Partial(pair, *parts["train"])

    @jax.jit
    def train(draw, rates):
        def sample(key):
            return functools.reduce(lambda b, f: f(b), narrow, draw(key))

        narrow = [functools.partial(only, tasks[0])] if len(tasks) == 1 else []
        return jm.train.fit_population(
            make(tasks, aggregate, sizes["steps"]), rates, sample, keys,
            steps=sizes["steps"], batch=sizes["batch"],
        )  # fmt: skip

    state, metrics = train(draw, jnp.asarray(sizes["rates"]))
    found = {
        part: {
            n: np.asarray(x) for n, x in accuracies(tasks, state, held[part]).items()
        }
        for part in held
    }
    losses = {n: np.asarray(metrics[f"loss/{n}"]) for n in tasks}
    return found, losses


def measure(args):
    sizes = FAST if args.fast else FULL
    parts = digits(args.data)
    held = {}
    for part, seed in (("val", 2), ("test", 3)):
        keys = jax.random.split(jax.random.key(seed), PAIRS[part])
        held[part] = jax.jit(jax.vmap(Partial(pair, *parts[part])))(keys)
    machine, rows = common.machine(), {}
    for name, (_, aggregate) in METHODS.items():
        began = time.perf_counter()
        groups = [(t,) for t in TASKS] if name == "single" else [TASKS]
        found, losses = {"val": {}, "test": {}}, {}
        for tasks in groups:
            more, curve = run(tasks, aggregate, parts, held, sizes)
            for part in found:
                found[part] |= more[part]
            losses |= curve
        # each single network has a rate of its own; a shared one has one for both
        best = {
            t: int(sum(found["val"][n].mean(1) for n in tasks).argmax())
            for tasks in groups for t in tasks
        }  # fmt: skip
        row = dict(seconds=time.perf_counter() - began, tasks={})
        for t in TASKS:
            scores = found["test"][t][best[t]]
            mean, ci95 = jm.train.interval(scores)
            curve = losses[t][best[t]]
            row["tasks"][t] = dict(
                rate=sizes["rates"][best[t]], accuracy=mean, ci95=ci95,
                seeds=[round(float(s), 5) for s in scores],
                first_loss=float(curve[:, 0].mean()),
                last_loss=float(curve[:, -max(sizes["steps"] // 20, 1) :].mean()),
            )  # fmt: skip
        both = np.mean([found["test"][t][best[t]] for t in TASKS], 0)
        row["both"] = dict(
            zip(("accuracy", "ci95"), jm.train.interval(both), strict=True)
        )
        rows[name] = row
        left, right = (row["tasks"][t] for t in TASKS)
        print(
            f"{name:12} left {left['accuracy']:.4f} right {right['accuracy']:.4f} "
            f"mean {row['both']['accuracy']:.4f} ± {row['both']['ci95']:.4f} "
            f"rates {left['rate']}, {right['rate']}  {row['seconds']:.0f} s",
            flush=True,
        )
    return dict(
        command="python -m benchmarks.multitask --data MNIST", machine=machine,
        digits=PARTS, pairs=PAIRS, shape=[14, 18], hidden=HIDDEN, sizes=sizes,
        own_rate=OWN_RATE, rows=rows,
    )  # fmt: skip


def table():
    if not RESULT.exists():
        return "Not measured yet."
    result = json.loads(RESULT.read_text())
    lines = ["| method | left | right | mean of both |", "|---|---|---|---|"]

    def cell(row):
        return f"{100 * row['accuracy']:.2f} ± {100 * row['ci95']:.2f} %"

    for name, row in result["rows"].items():
        cells = [cell(row["tasks"][t]) for t in TASKS] + [cell(row["both"])]
        lines.append(f"| {METHODS[name][0]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_table():
    before, rest = README.read_text().split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="the folder with MNIST's t10k files")
    parser.add_argument("--fast", action="store_true", help="a smoke test, no result")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.table:
        return write_table()
    if args.data is None:
        parser.error("--data: got nothing, wants the folder with MNIST's t10k files")
    result = measure(args)
    if args.fast and args.out == RESULT:
        return None
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return write_table() if args.out == RESULT else None


if __name__ == "__main__":
    main()
