"""What to do with a pretrained extractor: Omniglot, one net, the same test episodes.

    python -m benchmarks.transfer --data OMNIGLOT [--shots 1] [--fast] [--out FILE]
    python -m benchmarks.transfer --data OMNIGLOT --choose head    # or meta, or tune
    python -m benchmarks.transfer --table                      # the table of README.md here

A stride-2 Conv4-64 is pretrained to tell the 964 background characters apart. Then each
method gets the same 600 episodes, of 5 of the 659 evaluation characters, and is compared
with the frozen extractor and a new head in pairs. Meta-transfer learns from the background
characters turned by 90, 180 and 270 degrees: the extractor tells the upright ones apart
already, and what it has never seen is what meta-training should prepare it for.

`--choose` pretrains on 792 background characters, meta-trains on their turns, and prints
accuracies on episodes of the other 172: for a grid of rates and steps of the head, for
meta-transfer with two inner loops, for rates of fine-tuning. HEAD_RATE and HEAD_STEPS (of
the frozen extractor's head), INNER_RATE and INNER_STEPS (of meta-transfer's, in training,
too) are what it chose when the outer loop was 1,000 steps of 4 tasks at a constant rate;
hard tasks take what was chosen without them. META_RATE, which falls to zero along a cosine,
the number of outer steps, the pretraining and what fine-tuning is told were set by hand; the
outer loop for the second time, knowing that the first one had ended below the frozen
extractor on the evaluation characters. These choose nothing else.
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
README = HERE / "README.md"
BEGIN, END = "<!-- transfer: begin -->", "<!-- transfer: end -->"

LAYERS = ("block1", "block2", "block3", "block4", "head")
NET = dict(filters=64, downsample="stride", norm="batch_running")
FULL = dict(pretrain=4000, batch=64, meta=1500, hard=1500, tasks=8, episodes=600)
CHOOSE = dict(pretrain=4000, batch=64, meta=1500, hard=1500, tasks=8, episodes=600)
FAST = dict(pretrain=20, batch=16, meta=4, hard=4, tasks=2, episodes=20)
EVERY = 500  # outer steps between two looks at the validation characters
HEAD_RATE, HEAD_STEPS = 0.01, 20  # SGD on the frozen extractor's new head
INNER_RATE, INNER_STEPS = 0.1, 50  # SGD on meta-transfer's head, trained and tested
TUNE_RATE, TUNE_HEAD_RATE, TUNE_STEPS = 0.01, 0.03, 50  # SGD on everything, its head
LAM = 0.1  # of L2-SP
META_RATE, QUERIES = 1e-3, 5  # the outer Adam; queries of a class in meta-training

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
        jm.models.conv4(len(data.names), **NET),
        criterion=jm.criteria.label_smoothing(0.1),
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


def pretrained(data, sizes, key, keep, name):
    """`pretrain`, or what an earlier call with the same arguments left in a folder."""
    file = keep and keep / f"{name}-{sizes['pretrain']}.safetensors"
    facts = keep and file.with_suffix(".json")
    if file and file.exists():
        net = jm.models.conv4(len(data.names), **NET)
        like = net.init(key, jnp.zeros((1, 28, 28, 1)))
        known = json.loads(facts.read_text())
        return (
            jm.models.load_safetensors(file, like),
            known["accuracy"],
            known["seconds"],
        )
    began = time.perf_counter()
    meta, accuracy = pretrain(data, sizes, key)
    seconds = time.perf_counter() - began
    print(f"pretrained in {seconds:.0f} s, accuracy {accuracy:.3f}", flush=True)
    if file:
        keep.mkdir(parents=True, exist_ok=True)
        jm.models.save_safetensors(file, meta)
        facts.write_text(json.dumps(dict(accuracy=accuracy, seconds=seconds)))
    return meta, accuracy, seconds


def fine_tuned(name, meta, rate=TUNE_RATE, head_rate=TUNE_HEAD_RATE, lam=LAM):
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


def meta_transfer(meta, steps=INNER_STEPS, rate=INNER_RATE):
    net = jm.models.pretrained(extractor(), meta)
    return jm.meta_transfer(net, optax.sgd(rate), steps=steps)


def meta_training(learner, data, shots, sizes, key, hard, rate, every):
    """Yields `Meta` after every so many outer steps, with or without hard tasks."""
    start, key = jax.random.split(key)
    classes, outer = len(data.names), sizes["hard" if hard else "meta"]
    if hard:
        task = transfer.class_task(data, shots, QUERIES)
    else:
        task = jm.tasks.few_shot(data, 5, shots, QUERIES)

    def parts(task):
        objective, sample = jm.episodic(learner), task
        if hard:
            sample = lambda key: key  # noqa: E731
            objective = transfer.hard_tasks(
                objective, learner, task, classes=classes, ways=5
            )
        tx = optax.adam(optax.cosine_decay_schedule(rate, outer))
        return jm.make_trainer(objective, tx), sample

    @jax.jit
    def begin(task):
        trainer, sample = parts(task)
        return trainer.init(start, jm.train.sample_batch(sample, start, sizes["tasks"]))

    @jax.jit
    def go_on(task, state):
        trainer, sample = parts(task)
        sizes_ = dict(steps=every, batch=sizes["tasks"])
        return jm.fit(trainer, sample, state, key, **sizes_)[0]

    state = begin(task)
    for _ in range(outer // every):
        state = go_on(task, state)
        yield transfer.learner_meta(state.meta) if hard else state.meta


def turned(data):
    """Three new classes of each one: its examples turned by 90, 180, 270 degrees."""
    inputs = [np.rot90(data.inputs, k, (1, 2)) for k in (1, 2, 3)]
    names = [f"{name}/rot{90 * k}" for k in (1, 2, 3) for name in data.names]
    return jm.data.from_counts(np.concatenate(inputs), list(data.counts) * 3, names)


def start_of(learner, data, shots):
    task = jm.tasks.few_shot(data, 5, shots, QUERIES)
    return learner.init(jax.random.key(0), task(jax.random.key(0)))


def measure(args):
    """Every method on the same episodes: what goes into the result file."""
    sizes = FAST if args.fast else FULL
    splits = jm.data.omniglot(args.data, split="official")
    base = jm.data.merge(splits.train, splits.val)
    pre_key, meta_key, test_key = jax.random.split(jax.random.key(args.seed), 3)
    task = jm.tasks.few_shot(splits.test, 5, args.shots, 15)
    meta, accuracy, seconds = pretrained(base, sizes, pre_key, args.keep, "964")
    seconds = {"pretrain": seconds}
    scores, mover = {}, meta_transfer(meta)
    still = ("frozen", "meta_transfer", "hard")
    for name in (*still, *(name for name in NAMES if name not in still)):
        began = time.perf_counter()
        if name in still:
            learner = mover
            if name == "frozen":
                learner = meta_transfer(meta, HEAD_STEPS, HEAD_RATE)
                theta = start_of(learner, base, args.shots)
            else:
                hard = name == "hard"
                (theta,) = meta_training(
                    learner, turned(base), args.shots, sizes, meta_key, hard, META_RATE,
                    every=sizes["hard" if hard else "meta"],
                )  # fmt: skip
        else:
            learner, theta = fine_tuned(name, meta)
        found = jm.evaluate(learner, theta, task, test_key, episodes=sizes["episodes"])
        scores[name], seconds[name] = found.scores, time.perf_counter() - began
        print(f"{name:14} {found}  {seconds[name]:.0f} s", flush=True)
    rows = {}
    for name in NAMES:
        values = scores[name]
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
            head_rate=HEAD_RATE, head_steps=HEAD_STEPS,
            inner_rate=INNER_RATE, inner_steps=INNER_STEPS, tune_rate=TUNE_RATE,
            tune_head_rate=TUNE_HEAD_RATE, tune_steps=TUNE_STEPS, lam=LAM, meta_rate=META_RATE,
            train_queries=QUERIES, meta_schedule="cosine",
            meta_training_on="turns of the background characters",
        ),
        machine=dict(
            cpu=_cpu(), cores=len(os.sched_getaffinity(0)),
            python=platform.python_version(),
            **{name: version(name) for name in ("jax", "flax", "optax")},
        ),
        rows=rows,
    )  # fmt: skip


def choose(args):
    """Accuracies on the validation characters: what the constants are chosen by."""
    sizes = FAST if args.fast else CHOOSE
    splits = jm.data.omniglot(args.data, split="official")
    keys = jax.random.split(jax.random.key(args.seed), 3)
    meta, _, _ = pretrained(splits.train, sizes, keys[0], args.keep, "792")
    task = jm.tasks.few_shot(splits.val, 5, args.shots, 15)

    def score(learner, theta, task=task):
        return jm.evaluate(learner, theta, task, keys[2], episodes=sizes["episodes"])

    @jax.jit
    def features(theta, inputs):
        moved = theta._replace(params=theta.params["model"])
        return jm.models.scale_shift(extractor()).apply(moved, inputs)[0]

    def head_score(learner, theta):
        """What `score` would say of meta-transfer: every image is embedded once."""
        images = splits.val.inputs.astype(np.float32) / 255
        found = [features(theta, part) for part in np.array_split(images, 20)]
        data = splits.val._replace(inputs=np.concatenate(found))
        seen = jm.tasks.few_shot(data, 5, args.shots, 15)
        return score(learner, jm.Meta(theta.params["head"]), seen)

    theta = start_of(meta_transfer(meta), splits.train, args.shots)
    for rate in (0.01, 0.03, 0.1, 0.3) if args.choose == "head" else ():
        for steps in (20, 50, 100):
            head = jm.maml(jm.models.linear_head(5), optax.sgd(rate), steps=steps)
            found = head_score(head, theta)
            print(f"frozen head_rate={rate} steps={steps}: {found}", flush=True)
    head = jm.maml(jm.models.linear_head(5), optax.sgd(HEAD_RATE), steps=HEAD_STEPS)
    before = head_score(head, theta).scores
    every = min(EVERY, sizes["meta"])
    grid = ((0.1, 50), (HEAD_RATE, HEAD_STEPS))
    for inner, steps in grid if args.choose == "meta" else ():
        head = jm.maml(jm.models.linear_head(5), optax.sgd(inner), steps=steps)
        run = meta_training(
            meta_transfer(meta, steps, inner), turned(splits.train), args.shots, sizes,
            keys[1], False, META_RATE, every,
        )  # fmt: skip
        for i, theta in enumerate(run, 1):
            found = head_score(head, theta)
            gain, ci95 = jm.train.interval(found.scores - before)
            print(
                f"meta_transfer inner_rate={inner} inner_steps={steps} step={i * every}: {found}, "
                f"minus frozen {100 * gain:+.2f} ± {100 * ci95:.2f}",
                flush=True,
            )
    if args.choose != "tune":
        return
    for rate in (0.003, 0.01, 0.03):
        for name in ("full", "layerwise"):
            print(
                f"{name} rate={rate}: {score(*fine_tuned(name, meta, rate))}",
                flush=True,
            )
    for lam in (0.1, 1.0):
        print(
            f"l2_sp lam={lam}: {score(*fine_tuned('l2_sp', meta, lam=lam))}", flush=True
        )


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
    parser.add_argument("--choose", choices=("head", "meta", "tune"))
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder for pretrained networks")
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
