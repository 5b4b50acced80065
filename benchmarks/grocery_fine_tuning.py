"""Twelve products, five photographs of each: how is a trained network best fine-tuned?

    python -m benchmarks.grocery_fine_tuning --data PATH_TO/grocery --backbone FILE.safetensors
    python -m benchmarks.grocery_fine_tuning --table

Products are split 45/15/21 (`split_products`). A task is 12 products of the 21 with five
pictures of each from `train`, asked about pictures of `test`, the same for every method;
rates are chosen on tasks of the 15, and what is meta-trained is so on the 45. Pictures are
cut as the network wants them. Norms keep their statistics; the network from scratch has
norms of groups, for running averages of so few steps are of no use. Every row is written
when it is whole, and a run that was stopped goes on; the test tasks of a method are looked
at once, after its choice. Marked: what ends below the network from scratch (negative
transfer), and what ends below the frozen network, in the mean over tasks.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from benchmarks.common import machine, write_between
from benchmarks.grocery import centre
from jaxmeta import transfer
from jaxmeta.data.grocery import Grocery, grocery, split_products
from jaxmeta.recipes import tuning

HERE = Path(__file__).parent
RESULT = HERE / "results" / "grocery_fine_tuning.json"
README = HERE / "README.md"
BEGIN, END = "<!-- fine-tuning: begin -->", "<!-- fine-tuning: end -->"
CROP = 0.875
"""Share of a side that EfficientNet-Lite0's test pictures were cut to."""
WAYS, SHOTS, QUERIES, ASKED = 12, 5, 10, 60
RATES = {
    "scratch": (1e-3, 3e-4),
    "frozen": (1e-2, 3e-3),
    "lora": (1e-3, 3e-4),
    "scale_shift": (1e-2, 3e-3),
}
TUNED = ("scratch", "frozen", "full", "layer_wise", "l2_sp", "lora", "scale_shift")
META = ("meta_transfer", "pmf")


def task(parts: Grocery, names: tuple[str, ...], seed: int):
    """Support from train, queries from test: uint8 pictures and labels."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(names), WAYS, replace=False)

    def some(part, each):
        rows = []
        for c in chosen:
            i = part.names.index(names[c])
            at = random.permutation(part.counts[i])[:each] + part.starts[i]
            rows.append(part.inputs[at])
        labels = np.repeat(np.arange(WAYS), [len(r) for r in rows])
        return np.concatenate(rows), labels

    return some(parts.train, SHOTS), some(parts.test, QUERIES)


def unit(x):
    return jnp.asarray(x, jnp.float32) / 255


def predicted(predict, inputs) -> np.ndarray:
    """Class of each picture, by one program for batches of one size."""
    found = []
    for at in range(0, len(inputs), ASKED):
        part = inputs[at : at + ASKED]
        filled = np.concatenate([part, np.repeat(part[-1:], ASKED - len(part), 0)])
        found.append(np.asarray(predict(unit(filled)))[: len(part)].argmax(-1))
    return np.concatenate(found)


class Tuned:
    """A method of `jaxmeta.recipes.tuning`, compiled once for all rates and tasks."""

    def __init__(self, name, body, some, args):
        head, steps = jm.models.linear_head(WAYS), args.steps
        known = name != "scratch"
        start = body.init(jax.random.key(0), some) if known else None
        adam = optax.inject_hyperparams(optax.adam)(learning_rate=1e-3)
        bench = tuning.Bench(
            body, head, start, some, steps, args.layer_rate, optax.adam, adam
        )
        how = {"scratch": tuning.full}.get(name) or tuning.METHODS[name]
        plan = how(bench)
        model = jm.models.with_head(plan.body, head)
        init = model.init if known else jax.jit(model.init)
        self.start, self.tx = init(jax.random.key(0), some), plan.outer
        trainer = jm.make_trainer(plan.objective, plan.outer)

        def fitted(state, sample, key):
            return jm.fit(trainer, sample, state, key, steps=steps, batch=args.batch)[
                0
            ].meta

        self.fitted = jax.jit(fitted)
        self.apply = jax.jit(lambda meta, x: model.apply(meta, x)[0])

    def __call__(self, support, rate, seed):
        inputs, labels = support
        sample = transfer.examples(jm.data.from_labels(inputs, labels))
        state = self.tx.init(self.start.params)
        if rate is not None:
            state.hyperparams["learning_rate"] = jnp.asarray(rate, jnp.float32)
        state = jm.train.TrainState(self.start, state, jnp.zeros((), "int32"))
        meta = self.fitted(state, sample, jax.random.key(seed))
        return lambda x: self.apply(meta, x)


class Meta:
    """A learner that is trained on tasks of other products, and how it is tested."""

    def __init__(self, name, body, whole, args):
        outer = {"meta_transfer": 1e-3, "pmf": 1e-5}[name]
        if name == "meta_transfer":
            build = lambda k: jm.meta_transfer(body, optax.sgd(0.01), steps=k)  # noqa: E731
            learner = build(20)
            self.testers = {k: build(k) for k in (20, 100)}
        else:
            learner = jm.protonet(body, temperature=10.0)
            tuned = transfer.tuned_at_test(
                learner, optax.adam(1e-4), steps=args.test_steps
            )
            self.testers = {0: learner, args.test_steps: tuned}
        episodes = jm.tasks.few_shot(whole, WAYS, 2, 1)
        trainer = jm.make_trainer(jm.episodic(learner), optax.adam(outer))
        first = jax.jit(episodes)(jax.random.key(0))
        meta = learner.init(jax.random.key(1), first)
        opt = optax.adam(outer).init(meta.params)
        state = jm.train.TrainState(meta, opt, jnp.zeros((), "int32"))
        step = jax.jit(
            lambda s, t: jm.fit(trainer, t, s, jax.random.key(2), steps=1, batch=1)[0]
        )
        for i in range(args.outer_steps):
            state = step(state, episodes)
            if i % 10 == 0:
                print(f"{name}: outer step {i} of {args.outer_steps}", flush=True)
        self.meta = state.meta
        self.adapt = {k: jax.jit(t.adapt) for k, t in self.testers.items()}
        self.predict = {k: jax.jit(t.predict) for k, t in self.testers.items()}

    def __call__(self, support, steps, seed):
        batch = jm.Batch.of_labels(unit(support[0]), support[1], WAYS)
        fast = self.adapt[steps](self.meta, batch, jax.random.key(seed))
        return lambda x: self.predict[steps](self.meta, fast, x)


def row(name, parts, split, args) -> dict:
    """A method: what it chose, and its accuracy on every test task."""
    train, val, test = split
    began, some = time.process_time(), unit(parts.train.inputs[:2])
    if name == "scratch":
        body = jm.models.efficientnet_lite0(None, norm="group")
    else:
        loaded, _ = jm.models.load(args.backbone)
        body = transfer.inference_mode(loaded)
    if name in META:
        whole = jm.data.take_classes(parts.train, train)
        method = Meta(name, body, whole, args)
        choices = tuple(method.testers)
    else:
        method = Tuned(name, body, some, args)
        choices = RATES.get(name, (3e-4, 1e-4))
        choices = (None,) if name == "layer_wise" else choices

    def accuracy(names, seed, choice):
        support, query = task(parts, names, seed)
        said = predicted(method(support, choice, seed), query[0])
        return float((said == query[1]).mean())

    found = {}
    for choice in choices if len(choices) > 1 else ():
        seeds = range(1000, 1000 + args.val_tasks)
        found[str(choice)] = float(np.mean([accuracy(val, s, choice) for s in seeds]))
        print(name, "val", choice, round(found[str(choice)], 4), flush=True)
    best = max(choices, key=lambda c: found.get(str(c), 0.0))
    scores = [accuracy(test, s, best) for s in range(args.test_tasks)]
    return {
        "val": found,
        "chosen": best if best is not None else args.layer_rate,
        "test": scores,
        "seconds": round(time.process_time() - began, 1),
    }


def table(known: dict) -> str:
    """Accuracy, and the paired difference from the frozen network, over tasks."""
    rows, said, where = known["rows"], known["options"], known["machine"]
    lines = [
        "| method | accuracy | minus frozen, same tasks | s | |",
        "|---|---|---|---|---|",
    ]
    scores = {name: np.asarray(found["test"]) for name, found in rows.items()}
    for name in (*TUNED, *META):
        if name not in rows:
            lines.append(f"| {name} | not measured | | | |")
            continue
        found = rows[name]
        mean, half = (100 * x for x in jm.train.interval(scores[name]))
        cells, marks = [name, f"{mean:.1f} ± {half:.1f} %"], []
        cells.append("")
        if "frozen" in scores and name != "frozen":
            gap, wide = jm.train.interval(scores[name] - scores["frozen"])
            cells[-1] = f"{100 * gap:+.1f} ± {100 * wide:.1f}"
            marks += ["below frozen"] if gap < 0 and name != "scratch" else []
        if "scratch" in scores and scores[name].mean() < scores["scratch"].mean():
            marks.append("negative transfer")
        cells += [f"{found['seconds']:.0f}", ", ".join(marks)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([
        *lines,
        "",
        f"{said['test_tasks']} tasks of 12 products, 5 pictures of each of {said['size']} "
        f"pixels, up to {QUERIES} queries a class, inductive; {said['steps']} steps of "
        f"{said['batch']} pictures, the rate of two by {said['val_tasks']} task(s) of other "
        f"products; meta-training {said['outer_steps']} tasks of 12 ways and 2 shots; P>M>F "
        f"{said['test_steps']} steps or none at test. 95 % t-intervals over tasks; one seed. "
        f"Seconds of the processor for all of a row. {where['processor']}, cores: "
        f"{where['cores']}, jax {where['jax']}, {where['date']}.",
    ])  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--backbone", type=Path)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--steps", type=int, default=30, help="of fine-tuning")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--layer-rate", type=float, default=1e-3)
    parser.add_argument("--outer-steps", type=int, default=30)
    parser.add_argument("--test-steps", type=int, default=10, help="of P>M>F")
    parser.add_argument("--val-tasks", type=int, default=1)
    parser.add_argument("--test-tasks", type=int, default=4)
    parser.add_argument("--methods", nargs="*", default=[*TUNED, *META])
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    known = json.loads(args.out.read_text()) if args.out.exists() else {}
    if args.table:
        write_between(README, BEGIN, END, table(known))
        return
    fixed = ("size", "steps", "batch", "layer_rate", "outer_steps", "test_steps")
    said = {n: getattr(args, n) for n in (*fixed, "val_tasks", "test_tasks")}
    if known.get("options") != said:
        known = {"machine": machine(), "options": said, "rows": {}}
    parts = grocery(args.data, round(args.size / CROP))
    parts = Grocery(*(p._replace(inputs=centre(p.inputs, args.size)) for p in parts))
    split = split_products(parts)
    split = tuple(part.names for part in split)
    for name in args.methods:
        if name in known["rows"]:
            continue
        known["rows"][name] = row(name, parts, split, args)
        print(name, known["rows"][name], flush=True)
        args.out.write_text(json.dumps(known, indent=1) + "\n")
        if args.out == RESULT:
            write_between(README, BEGIN, END, table(known))


if __name__ == "__main__":
    main()
