"""Classes for life: what is kept of the first ones when hundreds have followed.

    JAXMETA_DATA=DIR python -m benchmarks.lifelong --data omniglot [--seeds 0 1 2]
    JAXMETA_DATA=DIR python -m benchmarks.lifelong --data grocery --backbone FILE
    python -m benchmarks.lifelong --table          # the table of README.md here

Omniglot: 100 and 400 test classes, in ten stages; 15 drawings of each, once each, class
after class; 5 others are asked for. Grocery Store: all 81 products in eight stages, the
departments of a shop; 16 of the training photographs of each (the fewest that one has)
come once, class after class; the published test photographs are asked for. No query says
of which stage it is.

A *start* is what a stream does not move: features that OML, ANML or
pretraining has learned on Omniglot's training classes, half a minute of one core each; for
groceries a frozen EfficientNet-Lite0, alone or below a layer that OML, ANML or a
classifier has trained on the 28 kinds of fruit, which come first in every stream. A
*method* learns the stream on them: steps of a linear head, steps with a reservoir of 200
examples, class means, ridge regression by running sums, which is exactly what all
examples at once give: what it loses from stage to stage is lost to rivals.

Features are scaled to a mean square of 1 in the first stage. Each method has one number
(a rate, whether lengths count, lambda), chosen by the last accuracy on a
stream of validation classes (groceries: on validation photographs).
"""

import argparse
import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from benchmarks import common, continual, shop
from benchmarks.continual import Row, embedded, features, oml_once
from jaxmeta import transfer
from jaxmeta.functional import backward_transfer, forgetting, seen_accuracy
from jaxmeta.learners.redrawn import drawn_head, redrawn
from jaxmeta.models.heads import split_head

RESULT = Path(__file__).parent / "results" / "lifelong.json"
STAGES, SEEN, HELD = 10, 15, 5
CAPACITY, RECALLED = 200, 8
RATES = tuple(float(x) for x in 4.0 ** np.arange(-7, 0))
STEPS = (600, 200, 0, 800)  # of OML, ANML, (MAML) and pretraining on Omniglot
FLAT = jm.models.flat()


class Method(NamedTuple):
    """`build(outputs, setting)`, the settings to choose from, whether there is a head."""

    build: Callable[[int, Any], transfer.Continual]
    settings: tuple
    head: bool


def _replay(ways: int, rate) -> transfer.Continual:
    head = jm.models.linear_head(ways)
    return transfer.replay(head, optax.sgd(rate), capacity=CAPACITY, count=RECALLED)


METHODS = {
    "fine-tuning": Method(
        lambda ways, rate: transfer.fine_tuning(
            jm.models.linear_head(ways), optax.sgd(rate)
        ),
        RATES,
        True,
    ),
    "replay": Method(_replay, RATES, True),
    "class means": Method(
        lambda ways, kind: transfer.class_means(FLAT, kind=kind), ("un", "l2"), False
    ),
    "ridge": Method(
        lambda ways, lam: transfer.running_ridge(FLAT, lam=lam),
        (10.0, 100.0, 1000.0, 10000.0),
        False,
    ),
}


@functools.partial(jax.jit, static_argnames=("name", "setting"))
def learned(name: str, setting, number, stages: jm.Episode, meta: jm.Meta, key):
    """R of a stream; a rate and lambda are arguments: all of them are one program."""
    ways = stages.support.targets.shape[-1]
    built = METHODS[name].build(ways, number if setting is None else setting)
    return transfer.accuracies(built, meta, stages, key)[0]


def tables(name: str, setting, stages: jm.Episode, seed: int) -> np.ndarray:
    """R of a stream of features, learned by a method."""
    key, meta = jax.random.key(20_000 + seed), jm.Meta({})
    if METHODS[name].head:
        ways = stages.support.targets.shape[-1]
        top = jm.models.linear_head(ways).init(key, stages.support.inputs[0])
        # from a head at zero there is nothing to forget, see `benchmarks.continual`
        meta = top._replace(params=drawn_head(key, top.params))
    word = isinstance(setting, str)
    static, number = (setting, 0.0) if word else (None, jnp.float32(setting))
    return np.asarray(learned(name, static, number, stages, meta, key), float)


def scaled(stages: jm.Episode) -> jm.Episode:
    """Features as vectors, of mean square 1 a coordinate in the first stage."""
    x = stages.support.inputs
    first = x[0].reshape(len(x[0]), -1)
    if stages.support.weights is not None:
        first = first[np.asarray(stages.support.weights[0]) > 0]
    size = jnp.sqrt((first**2).mean())

    def through(batch):
        flat = batch.inputs.reshape(*batch.inputs.shape[:2], -1)
        return batch._replace(inputs=flat / size)

    return jm.Episode(*map(through, stages))


def judged(name: str, choosing, testing: dict[str, list], seed: int) -> dict[str, dict]:
    """The setting that is best in `choosing`, then the streams of the test, once."""
    settings = METHODS[name].settings
    last = [
        seen_accuracy(tables(name, s, choosing[0], seed), choosing[1])[-1]
        for s in settings
    ]
    at = int(np.argmax(last))
    edge = METHODS[name].head and at in (0, len(settings) - 1)
    found = {}
    for data, streams in testing.items():
        each = [(tables(name, settings[at], s, seed), sizes) for s, sizes in streams]
        mean = np.mean([table for table, _ in each], 0)
        found[data] = {
            "setting": settings[at],
            "at_an_end_of_the_settings": bool(edge),
            "seen": [float(x) for x in seen_accuracy(mean, each[0][1])],
            "forgetting": float(np.mean([forgetting(t) for t, _ in each])),
            "backward_transfer": float(
                np.mean([backward_transfer(t) for t, _ in each])
            ),
            "learned": [float(x) for x in np.diagonal(mean)],
            "left": [float(x) for x in mean[-1]],
        }
    return found


def fitted(objective: jm.Objective, draw, seed: int, steps: int, batch: int, rate=1e-3):
    """`(Meta, what it took)`: Adam with a cosine, as in `continual.trained`."""
    tx = optax.adam(optax.cosine_decay_schedule(rate, steps))
    trainer = jm.make_trainer(
        objective, optax.chain(optax.clip_by_global_norm(1.0), tx)
    )
    key = jax.random.key(seed)

    @jax.jit
    def run(draw):
        state = trainer.init(key, jm.train.sample_batch(draw, key, 2))
        return jm.fit(trainer, draw, state, key, steps=steps, batch=batch)

    begin = time.process_time()
    state, metrics = jax.block_until_ready(run(draw))
    spent = round(time.process_time() - begin, 1)
    shown = {k: round(float(v[-20:].mean()), 3) for k, v in metrics.items()}
    took = {"outer_steps": steps, "batch": batch, "processor_seconds": spent}
    return state.meta, {**took, "last_training": shown}


OMNIGLOT = ("oml", "pretraining", "anml")
GROCERY = ("features", "pretraining", "oml", "anml")


def omniglot(data, row: Row, name: str, seed: int, classes=(100, 400)) -> dict:
    """All methods on one start: `{"training", method: {data: measures}}`."""
    body = features(name, row)
    meta, took = continual.trained(name, data, row, seed)

    def stream(part, ways, key):
        task = jm.tasks.few_shot(part, ways, SEEN, HELD)
        made = jax.jit(lambda meta, task, key: embedded(body, meta, task(key)))
        return scaled(transfer.in_stages(made(meta, task, key), STAGES)), None

    choose, *keys = jax.random.split(jax.random.key(10_000 + seed), 1 + len(classes))
    # there are 172 validation classes: no stream of 400 to choose by
    choosing = stream(data.val, min(classes), choose)
    testing = {
        f"omniglot-{n}": [stream(data.test, n, k)]
        for n, k in zip(classes, keys, strict=True)
    }
    return {"training": took} | {m: judged(m, choosing, testing, seed) for m in METHODS}


def layer(name: str, fruit: jm.data.Dataset, seed: int, width=256, steps=300):
    """`(features, Meta, what it took)`: a layer on frozen features, trained on fruit."""
    if name == "features":
        return FLAT, jm.Meta({}), {}
    body = jm.models.mlp(None, hidden=(width,))
    if name == "anml":
        body = jm.models.gated(body, jm.models.mlp(None, hidden=(width // 4,)))
    ways = 10
    if name == "pretraining":
        net = jm.models.with_head(body, jm.models.linear_head(len(fruit.names)))
        target, draw, batch = transfer.supervised(net), transfer.examples(fruit), 64
    else:
        draw, batch = jm.tasks.few_shot(fruit, ways, 5, 5), 1
        net = jm.models.with_head(body, jm.models.linear_head(ways))
        learner = {
            "oml": lambda: oml_once(body, ways, optax.sgd(0.1)),
            "anml": lambda: jm.anml(net, optax.sgd(0.1)),
        }[name]()
        target = jm.episodic(redrawn(learner))
    meta, took = fitted(target, draw, seed, steps, batch)
    return body, split_head(meta)[0], took


def grocery(parts, departments, name: str, seed: int) -> dict:
    """As `omniglot`, of all products by department."""
    order = shop.order(departments, seed)
    mean = shop.of_classes(parts.train, order[: shop.FRUIT]).inputs.mean(0)
    fruit = shop.of_classes(parts.train, order[: shop.FRUIT])
    fruit = fruit._replace(inputs=shop.scaled(fruit.inputs, mean))
    body, meta, took = layer(name, fruit, seed)
    apply = jax.jit(lambda x: body.apply(meta, x)[0])

    def stream(asked):
        stages, sizes = shop.stages(parts.train, asked, order, mean, seed)

        def through(batch):
            flat = apply(batch.inputs.reshape(-1, batch.inputs.shape[-1]))
            return batch._replace(inputs=flat.reshape(*batch.inputs.shape[:2], -1))

        return scaled(jm.Episode(*map(through, stages))), sizes

    choosing, testing = stream(parts.val), {"grocery": [stream(parts.test)]}
    return {"training": took} | {m: judged(m, choosing, testing, seed) for m in METHODS}


LABELS = {
    "oml": "OML", "anml": "ANML", "pretraining": "pretraining",
    "features": "none: frozen features",
}  # fmt: skip


def _cell(values: list[float]) -> str:
    if len(values) == 1:
        return f"{100 * values[0]:.1f}"
    mean, half = jm.train.interval(100 * np.asarray(values))
    return f"{mean:.1f} ± {half:.1f}"


def table(found: dict) -> str:
    """Markdown, one table for each stream; percent."""
    runs, parts = found["runs"], []
    for data, where in (
        ("omniglot-100", "omniglot"),
        ("omniglot-400", "omniglot"),
        ("grocery", "grocery"),
    ):
        of = [run for run in runs if run["data"] == where]
        if not of:
            continue
        seeds = len({run["seed"] for run in of})
        lines = [
            f"**{data}**, {seeds} seeds\n",
            "| start | method | accuracy, first stage | half of them | all classes "
            "| forgetting | backward transfer |",
            "|---|---|---|---|---|---|---|",
        ]
        for start in dict.fromkeys(run["start"] for run in of):
            for name in METHODS:
                rows = [run[name][data] for run in of if run["start"] == start]
                half = len(rows[0]["seen"]) // 2 - 1
                cells = [
                    LABELS[start],
                    name,
                    *(_cell([r["seen"][i] for r in rows]) for i in (0, half, -1)),
                    _cell([r["forgetting"] for r in rows]),
                    _cell([r["backward_transfer"] for r in rows]),
                ]
                lines.append("| " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=("omniglot", "grocery"))
    parser.add_argument("--backbone", help="a .safetensors file, for groceries")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--starts", nargs="+", help="some of them alone")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table(json.loads(RESULT.read_text())))
        return
    root = Path(os.environ["JAXMETA_DATA"])
    if options.data == "omniglot":
        starts, data = OMNIGLOT, jm.data.omniglot(root / "omniglot")
        one = lambda start, seed: omniglot(data, Row(steps=STEPS), start, seed)  # noqa: E731
    else:
        starts = GROCERY
        parts = shop.read(root / "grocery", options.backbone)
        departments = shop.departments(root / "grocery" / "classes.csv")
        one = lambda start, seed: grocery(parts, departments, start, seed)  # noqa: E731
    for seed in options.seeds:
        for start in options.starts or starts:
            said = {"data": options.data, "seed": seed, "start": start}
            run = {**said, "machine": common.machine(), **one(start, seed)}
            kept = {"runs": []}
            if RESULT.exists():
                kept = json.loads(RESULT.read_text())
            rest = [r for r in kept["runs"] if {k: r[k] for k in said} != said]
            key = lambda r: (r["data"], r["seed"], LABELS[r["start"]])  # noqa: E731
            runs = sorted([*rest, run], key=key)
            RESULT.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
            for name in METHODS:
                for where, r in run[name].items():
                    shown = {k: round(r[k], 3) for k in ("forgetting",)}
                    print(seed, start, name, where, round(r["seen"][-1], 3), shown,
                          r["setting"], flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
