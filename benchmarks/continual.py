"""Learning classes one after another: OML, ANML, a MAML initialisation, pretraining.

    JAXMETA_DATA=DIR python -m benchmarks.continual [--seeds 0 1 2] [--more]
    python -m benchmarks.continual --table          # the table of README.md here

Omniglot at 28x28, the split of Vinyals et al. 2016 without rotations. Every method trains
on the training classes. The test is a stream of new classes, one after another, 15
examples each, each seen once by one step of SGD; after 10, 20, 50 and 100 of them the
network answers for the 5 examples of every class seen so far that the stream leaves out,
among 100 outputs. Rates are chosen on streams of validation classes, for each length.

All have the same network, three blocks of convolution and a linear head that is drawn anew
for every task, in training and in the test, as in the programs of the papers: what it had
learned says nothing about new classes. (From a head at zero there is nothing to forget: at
a rate near 0 its weights are sums of the features of each class, in any order.) ANML has a
gate network beside it. In the test OML, ANML and pretraining move the head; of MAML there
is that, and what it was trained for, all moving.
"""

import argparse
import functools
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxmeta as jm
from benchmarks import common
from jaxmeta.learners.redrawn import drawn_head, redrawn
from jaxmeta.models import conv4, gated, linear_head, with_head
from jaxmeta.models.heads import split_head
from jaxmeta.transfer.supervised import examples, supervised

RESULT = Path(__file__).parent / "results" / "continual.json"


class Row(NamedTuple):
    """One size of the experiment; a test has a small one."""

    filters: int = 32
    blocks: int = 3
    ways: int = 10  # of a training task, whose stream has ways * shots steps
    shots: int = 5
    queries: int = 5
    classes: tuple[int, ...] = (10, 20, 50, 100)
    seen: int = 15  # of a class, in the stream of the test
    held: int = 5
    streams: int = 2  # of the test, and as many to choose the rate by; all moving: 1
    rates: tuple[float, ...] = tuple(float(x) for x in 4.0 ** np.arange(-7, 0))
    steps: tuple[int, int, int, int] = (1000, 300, 200, 1500)
    batch: int = 1  # tasks an outer step
    rate: float = 1e-3
    inner: tuple[float, ...] = (0.003, 0.01, 0.1)  # OML, ANML, MAML, in training


METHODS = ("oml", "anml", "maml", "pretraining")


def features(name: str, row: Row) -> jm.Model:
    """The network without its head; a norm that takes one example at a time."""
    body = functools.partial(
        conv4, None, norm="group", downsample="stride", blocks=row.blocks, flatten=False
    )
    own = body(filters=row.filters)
    return gated(own, body(filters=row.filters // 2)) if name == "anml" else own


def embedded(body: jm.Model, meta: jm.Meta, episode: jm.Episode) -> jm.Episode:
    """The episode in feature space."""
    both = jnp.concatenate([batch.inputs for batch in episode])
    found, _ = body.apply(meta, both)
    n = len(episode.support.targets)
    return jm.Episode(
        episode.support._replace(inputs=found[:n]),
        episode.query._replace(inputs=found[n:]),
    )


def oml_once(body: jm.Model, ways: int, inner) -> jm.MetaLearner:
    """`jm.oml(with_head(body, linear_head(ways)), inner)`, the same to the last digits.

    The body is what no step moves, so an episode is embedded once, not row by row.
    """
    whole = jm.oml(with_head(body, linear_head(ways)), inner)
    top = jm.oml(linear_head(ways), inner, head=lambda path: True)

    def loss(meta, episode, key):
        bottom, head = split_head(meta)
        value, aux = top.loss(head, embedded(body, bottom, episode), key)
        return value, aux._replace(buffers=None)  # those of the head: there are none

    return whole._replace(loss=loss)


def objective(name: str, data: jm.data.Splits, row: Row):
    """What a method descends, what it draws, how many of those a step."""
    body = features(name, row)
    if name == "pretraining":
        net = with_head(body, linear_head(len(data.train.counts)))
        return supervised(net), examples(data.train), 64
    net, inner = (
        with_head(body, linear_head(row.ways)),
        optax.sgd(row.inner[METHODS.index(name)]),
    )
    learner = {
        "oml": lambda: oml_once(body, row.ways, inner),
        "anml": lambda: jm.anml(net, inner),
        "maml": lambda: jm.maml(net, inner),
    }[name]()
    sizes = (row.ways, row.shots, row.queries)
    return (
        jm.episodic(redrawn(learner)),
        jm.tasks.few_shot(data.train, *sizes),
        row.batch,
    )


def trained(name: str, data: jm.data.Splits, row: Row, seed: int):
    """`(the Meta of the body, what it took)`."""
    target, draw, batch = objective(name, data, row)
    steps = row.steps[METHODS.index(name)]
    adam = optax.adam(optax.cosine_decay_schedule(row.rate, steps))
    tx = optax.chain(optax.clip_by_global_norm(1.0), adam)
    trainer = jm.make_trainer(target, tx)
    starting, running = jax.random.split(jax.random.key(seed))
    some = jm.train.sample_batch(draw, starting, 2)
    state = jax.jit(trainer.init)(starting, some)
    pieces = min(10, steps)

    @jax.jit
    def piece(state, draw, key):
        return jm.fit(trainer, draw, state, key, steps=steps // pieces, batch=batch)

    begin, working = time.perf_counter(), time.process_time()
    for _ in range(pieces):
        state, metrics = piece(state, draw, running)
        shown = {k: round(float(v.mean()), 3) for k, v in metrics.items()}
        spent = round(time.perf_counter() - begin)
        print(f"  {name} {int(state.step)} {spent} s {shown}", flush=True)
    took = {
        "outer_steps": steps // pieces * pieces,
        "batch": batch,
        "seconds": round(time.perf_counter() - begin, 1),
        "processor_seconds": round(time.process_time() - working, 1),
        "last_training": shown,
    }
    return split_head(state.meta)[0], took


def curve(body: jm.Model, row: Row, everything: bool, rates, meta, task, key):
    """Accuracy by rate and classes seen, `[rates, lengths]`, on one stream."""
    most, episode = max(row.classes), task(key)
    net = with_head(body, linear_head(most)) if everything else linear_head(most)
    if not everything:
        episode = embedded(body, meta, episode)
    start = net.init(key, episode.support.inputs[:1])
    if everything:
        head = drawn_head(key, start.params["head"])
        start = start._replace(params={**meta.params, "head": head})
    else:
        start = start._replace(params=drawn_head(key, start.params))
    of_class = jax.tree.map(
        lambda x: x.reshape(most, row.seen, *x.shape[1:]), episode.support
    )

    def one(rate):
        # the plain loss: no output is ruled out for a class that comes later
        learner = jm.oml(
            net,
            optax.sgd(rate),
            head=lambda path: True,
            inner_criterion=jm.losses.cross_entropy,
        )

        def learn(params, batch):
            return learner.adapt(start._replace(params=params), batch, key), ()

        params, found, before = start.params, [], 0
        for n in row.classes:
            part = jax.tree.map(lambda x, a=before, b=n: x[a:b], of_class)
            params, _ = jax.lax.scan(learn, params, part)
            asked = jax.tree.map(lambda x, n=n: x[: n * row.held], episode.query)
            outputs, _ = net.apply(start._replace(params=params), asked.inputs)
            right = outputs.argmax(-1) == asked.targets.argmax(-1)
            found.append(right.mean())
            before = n
        return jnp.stack(found)

    return (
        jax.lax.map(one, jnp.asarray(rates))
        if everything
        else jax.vmap(one)(jnp.asarray(rates))
    )


def judged(name: str, meta, data, row: Row, everything: bool, seed: int) -> dict:
    """Streams of the test at the rates that are best on those of validation."""
    # where all moves, a stream takes as long as a training: fewer of them
    rates = row.rates[1::2] if everything else row.rates
    body = features(name, row)
    keys = jax.random.split(jax.random.key(10_000 + seed), row.streams)
    keys = keys[:1] if everything else keys

    def scores(part, rates):
        task = jm.tasks.few_shot(part, max(row.classes), row.seen, row.held)
        run = jax.jit(functools.partial(curve, body, row, everything))
        return np.mean([run(jnp.asarray(rates), meta, task, key) for key in keys], 0)

    best = scores(data.val, rates).argmax(0)
    chosen = [rates[b] for b in best]  # one for each length
    found = scores(data.test, chosen)
    return {
        "accuracy": [float(found[i, i]) for i in range(len(chosen))],
        "rates": chosen,
        "at_an_end_of_the_rates": bool(np.isin(best, (0, len(rates) - 1)).any()),
    }


def measure(data: jm.data.Splits, row: Row, seed: int, methods=METHODS) -> dict:
    """Every method: its training, and its accuracy after each number of classes."""
    found: dict = {"seed": seed}
    for name in methods:
        meta, took = trained(name, data, row, seed)
        found[name] = {"training": took}
        for moved in ("head", "all") if name == "maml" else ("head",):
            found[name][moved] = judged(name, meta, data, row, moved == "all", seed)
        print(" ", name, found[name], flush=True)
    return found


LABELS = {
    ("oml", "head"): "OML",
    ("anml", "head"): "ANML, head alone in the test",
    ("maml", "head"): "MAML, head alone in the test",
    ("maml", "all"): "MAML, all moves",
    ("pretraining", "head"): "pretraining, head alone",
}


def table(found: dict) -> str:
    runs, classes = found["runs"], found["row"]["classes"]
    heads = " | ".join(f"{n} classes" for n in classes)
    lines = [
        f"| start | outer steps x batch, seconds of a processor | {heads} |",
        "|---" * (len(classes) + 2) + "|",
    ]
    for (name, moved), label in LABELS.items():
        took = [run[name]["training"] for run in runs]
        seconds = np.mean([t["processor_seconds"] for t in took])
        cells = [
            label,
            f"{took[0]['outer_steps']:,} x {took[0]['batch']}, {seconds:.0f}",
        ]
        for i in range(len(classes)):
            scores = np.array([100 * run[name][moved]["accuracy"][i] for run in runs])
            mean, half = (
                jm.train.interval(scores) if len(runs) > 1 else (scores.mean(), None)
            )
            cells.append(
                f"{mean:.1f}" + ("" if half is None else f" ± {half:.1f}") + " %"
            )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--more", action="store_true", help="add to what is kept")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if not options.table:
        data = jm.data.omniglot(Path(os.environ["JAXMETA_DATA"]) / "omniglot")
        said = {"machine": common.machine(), "row": Row()._asdict()}
        runs = json.loads(RESULT.read_text())["runs"] if options.more else []
        for seed in options.seeds:
            runs = [run for run in runs if run["seed"] != seed]
            runs.append(measure(data, Row(), seed))
            RESULT.write_text(json.dumps({**said, "runs": runs}, indent=1) + "\n")
    print(table(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
