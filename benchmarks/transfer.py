"""What to do with a pretrained extractor: Omniglot, one net, the same test episodes.

    python benchmarks/transfer.py --data OMNIGLOT [--shots 1] [--fast] [--out FILE]
    python benchmarks/transfer.py --data OMNIGLOT --choose     # the rates, on validation
    python benchmarks/transfer.py --table                      # the README's table

A stride-2 Conv4-64 is pretrained to tell the 964 background characters apart. Then each
method gets the same 600 episodes, of 5 of the 659 evaluation characters, and is compared
with the frozen extractor and a new head in pairs. `--choose` pretrains on 792 background
characters and prints accuracies on the other 172 for a grid of rates. HEAD_RATE is its
best; the other constants were set beforehand. No evaluation character chooses anything.
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from jaxmeta import transfer
from jaxmeta.transfer.pretrained import not_head

HERE = Path(__file__).parent
RESULT = HERE / "results" / "transfer.json"
README = HERE.parent / "README.md"
BEGIN, END = "<!-- transfer: begin -->", "<!-- transfer: end -->"

LAYERS = ("block1", "block2", "block3", "block4", "head")
NET = dict(filters=64, downsample="stride", norm="batch_running")
FULL = dict(pretrain=4000, batch=64, meta=1000, tasks=4, episodes=600)
CHOOSE = dict(pretrain=4000, batch=64, meta=1000, tasks=4, episodes=300)
FAST = dict(pretrain=20, batch=16, meta=4, tasks=2, episodes=20)
HEAD_RATE, HEAD_STEPS = 0.03, 50  # SGD on the classifier
TUNE_RATE, TUNE_STEPS = 0.01, 50  # SGD on everything, the head with HEAD_RATE
LAM = 0.1  # of L2-SP
META_RATE, META_STEPS, QUERIES = 1e-4, 20, 5  # the outer Adam, inner steps, queries
TURNS = True  # meta-train on quarter turns of the characters too

NAMES = {
    "frozen": "frozen extractor, new head",
    "full": "full fine-tuning",
    "layerwise": "layer-wise: falling rates, gradual unfreezing",
    "l2_sp": "full fine-tuning with L2-SP",
    "meta_transfer": "meta-transfer",
    "hard": "meta-transfer with hard tasks",
}


def extractor():
    return jm.models.conv4(None, **NET)


def pretrain(data, sizes, key):
    """The network trained to tell all classes of `data` apart: `(Meta, accuracy)`."""
    steps, batch = sizes["pretrain"], sizes["batch"]
    objective = transfer.supervised(
        jm.models.conv4(len(data.names), **NET), smoothing=0.1
    )
    tx = optax.adam(optax.cosine_decay_schedule(2e-3, steps))
    trainer = jm.make_trainer(objective, tx)
    draw = transfer.examples(data)
    start, key = jax.random.split(key)
    state = trainer.init(start, jm.train.sample_batch(draw, start, batch))
    state, metrics = jax.jit(
        lambda draw, state: jm.fit(trainer, draw, state, key, steps=steps, batch=batch)
    )(draw, state)
    tail = max(steps // 20, 1)
    return state.meta, float(metrics["accuracy"][-tail:].mean())


def fine_tuned(name, meta, rate=TUNE_RATE, head_rate=HEAD_RATE, lam=LAM):
    """Fine-tuning on the support set, from a pretrained `Meta`: `(learner, Meta)`."""
    body, head = transfer.inference_mode(extractor()), jm.models.linear_head(5)
    model = jm.models.with_head(body, head)
    options = {}
    if name == "l2_sp":
        options = dict(lam=lam, feature_loss=transfer.l2_sp(meta.params))
    if name == "layerwise":
        schedule = transfer.slanted_triangular(head_rate, TUNE_STEPS)
        factor = (head_rate / rate) ** (1 / (len(LAYERS) - 1))
        each = transfer.gradual_unfreezing(
            optax.sgd(schedule), LAYERS, every=TUNE_STEPS // 10
        )
        tx = transfer.discriminative(each, LAYERS, factor=factor)
    else:
        tx = optax.partition(
            {True: optax.sgd(rate), False: optax.sgd(head_rate)},
            lambda params: jax.tree.map(not_head, jm.tree.paths(params)),
        )
    objective = transfer.fine_tune(body, head, **options)
    fresh = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    learner = transfer.as_learner(objective, model, tx, steps=TUNE_STEPS)
    return learner, transfer.transplant(meta, fresh)


def meta_transfer(meta, steps, rate=HEAD_RATE):
    return jm.meta_transfer(extractor(), optax.sgd(rate), pretrained=meta, steps=steps)


def meta_train(learner, data, shots, sizes, key, hard, rate=META_RATE):
    """Meta-training on the background characters, with or without hard tasks."""
    start, key = jax.random.split(key)
    tx = optax.adam(optax.cosine_decay_schedule(rate, sizes["meta"]))
    classes = len(data.names)
    if hard:
        task = transfer.class_task(data, shots, QUERIES)
    else:
        task = jm.tasks.few_shot(data, 5, shots, QUERIES)

    @jax.jit
    def run(task):
        objective, sample = jm.episodic(learner), task
        if hard:
            sample = lambda key: key  # noqa: E731
            objective = transfer.hard_tasks(
                objective, learner, task, classes=classes, ways=5
            )
        trainer = jm.make_trainer(objective, tx)
        first = jm.train.sample_batch(sample, start, sizes["tasks"])
        return jm.fit(
            trainer, sample, trainer.init(start, first), key,
            steps=sizes["meta"], batch=sizes["tasks"],
        )  # fmt: skip

    state, _ = run(task)
    return transfer.learner_meta(state.meta) if hard else state.meta


def turned(data):
    """Four classes of each one: itself and its quarter turns."""
    inputs = [np.rot90(data.inputs, k, (1, 2)) for k in range(4)]
    names = [f"{name}/rot{90 * k}" for k in range(4) for name in data.names]
    return jm.data.from_counts(np.concatenate(inputs), list(data.counts) * 4, names)


def start_of(learner, data, shots):
    task = jm.tasks.few_shot(data, 5, shots, QUERIES)
    return learner.init(jax.random.key(0), task(jax.random.key(0)))


def measure(args):
    """Every method on the same episodes: what goes into the result file."""
    sizes = FAST if args.fast else FULL
    splits = jm.data.omniglot(args.data, split="official")
    base = jm.data.merge(splits.train, splits.val)
    source = turned(base) if TURNS else base
    pre_key, meta_key, test_key = jax.random.split(jax.random.key(args.seed), 3)
    task = jm.tasks.few_shot(splits.test, 5, args.shots, 15)
    began = time.perf_counter()
    meta, accuracy = pretrain(base, sizes, pre_key)
    seconds = {"pretrain": time.perf_counter() - began}
    print(
        f"pretrained in {seconds['pretrain']:.0f} s, accuracy {accuracy:.3f}",
        flush=True,
    )
    scores = {}
    for name in NAMES:
        began = time.perf_counter()
        if name in ("frozen", "meta_transfer", "hard"):
            learner = meta_transfer(meta, HEAD_STEPS)
            theta = start_of(learner, base, args.shots)
            if name != "frozen":
                theta = meta_train(
                    meta_transfer(meta, META_STEPS), source, args.shots, sizes, meta_key,
                    name == "hard",
                )  # fmt: skip
                learner = meta_transfer(meta, META_STEPS)
        else:
            learner, theta = fine_tuned(name, meta)
        found = jm.evaluate(learner, theta, task, test_key, episodes=sizes["episodes"])
        scores[name], seconds[name] = found.scores, time.perf_counter() - began
        print(f"{name:14} {found}  {seconds[name]:.0f} s", flush=True)
    rows = {}
    for name, values in scores.items():
        mean, ci95 = jm.train.interval(values)
        gain, gain_ci95 = jm.train.interval(values - scores["frozen"])
        rows[name] = dict(
            accuracy=mean, ci95=ci95, gain=gain,
            gain_ci95=0.0 if name == "frozen" else gain_ci95, seconds=seconds[name],
        )  # fmt: skip
    return dict(
        ways=5, shots=args.shots, queries=15, seed=args.seed, sizes=sizes,
        shape=[28, 28, 1], net=NET, base_classes=len(base.names),
        test_classes=len(splits.test.names), pretrain_accuracy=accuracy,
        pretrain_seconds=seconds["pretrain"],
        settings=dict(
            head_rate=HEAD_RATE, head_steps=HEAD_STEPS, tune_rate=TUNE_RATE,
            tune_steps=TUNE_STEPS, lam=LAM, meta_rate=META_RATE,
            meta_inner_steps=META_STEPS, train_queries=QUERIES, turns=TURNS,
        ),
        machine=dict(
            cpu=_cpu(), cores=len(os.sched_getaffinity(0)),
            python=platform.python_version(),
            **{name: version(name) for name in ("jax", "flax", "optax")},
        ),
        rows=rows,
    )  # fmt: skip


def choose(args):
    """Accuracies on the validation characters for a grid of rates."""
    sizes = FAST if args.fast else CHOOSE
    splits = jm.data.omniglot(args.data, split="official")
    keys = jax.random.split(jax.random.key(args.seed), 3)
    meta, _ = pretrain(splits.train, sizes, keys[0])
    task = jm.tasks.few_shot(splits.val, 5, args.shots, 15)

    def show(text, learner, theta):
        found = jm.evaluate(learner, theta, task, keys[2], episodes=sizes["episodes"])
        print(f"{text:40} {found}", flush=True)

    for rate in (0.03, 0.1, 0.3):
        learner = meta_transfer(meta, HEAD_STEPS, rate)
        show(f"frozen head_rate={rate}", learner, start_of(learner, splits.train, 1))
    sources = {False: splits.train, True: turned(splits.train)}
    for turns, data in sources.items():
        for rate in (3e-5, 1e-4, 3e-4, 1e-3):
            learner = meta_transfer(meta, META_STEPS)
            theta = meta_train(learner, data, args.shots, sizes, keys[1], False, rate)
            show(f"meta_transfer rate={rate} turns={turns}", learner, theta)
    learner = meta_transfer(meta, META_STEPS)
    theta = meta_train(learner, sources[True], args.shots, sizes, keys[1], True)
    show(f"hard rate={META_RATE} turns=True", learner, theta)
    for rate in (0.003, 0.01, 0.03):
        for name in ("full", "layerwise"):
            show(f"{name} rate={rate}", *fine_tuned(name, meta, rate))
    for lam in (0.1, 1.0):
        show(f"l2_sp lam={lam}", *fine_tuned("l2_sp", meta, lam=lam))


def table():
    """The rows of the result file as Markdown."""
    if not RESULT.exists():
        return "Not measured yet."
    lines = [
        "| method | 5-way accuracy | minus frozen, same episodes |",
        "|---|---|---|",
    ]
    for result in json.loads(RESULT.read_text()):
        for name, row in result["rows"].items():
            value = f"{100 * row['accuracy']:.2f} ± {100 * row['ci95']:.2f} %"
            gain = f"{100 * row['gain']:+.2f} ± {100 * row['gain_ci95']:.2f}"
            gain = "" if name == "frozen" else gain
            lines.append(
                f"| {NAMES[name]}, {result['shots']}-shot | {value} | {gain} |"
            )
    return "\n".join(lines)


def write_table():
    before, rest = README.read_text().split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")


def _cpu():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="the folder with Omniglot's zips")
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fast", action="store_true", help="a smoke test, no result")
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.table:
        return write_table()
    if args.choose:
        return choose(args)
    result = measure(args)
    if args.fast and args.out == RESULT:
        return None
    kept = json.loads(args.out.read_text()) if args.out.exists() else []
    kept = [r for r in kept if r["shots"] != args.shots] + [result]
    kept.sort(key=lambda r: r["shots"])
    args.out.write_text(json.dumps(kept, indent=1) + "\n")
    return write_table() if args.out == RESULT else None


if __name__ == "__main__":
    main()
