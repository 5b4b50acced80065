"""Which operation on which edge, by gradient: DARTS on few-shot episodes.

    JAXMETA_DATA=DIR python -m benchmarks.architecture [--seeds 3]   # goes on where it was
    python -m benchmarks.architecture --table

Liu et al. 2019, DARTS (arXiv:1806.09055), in small. A ProtoNet for Omniglot at 28x28, 20-way
1-shot: a convolution of stride 2, then one cell twice, each time with a pooling after it.

    a = o_01(x),   y = a + o_02(x) + o_12(a),    o_e(x) = sum_i softmax(alpha_e)_i o_i(x)

    min_alpha  L(w - xi grad_w L(w, alpha; T), alpha; V),     T, V: episodes

T is of three quarters of the training classes, V of the others. The step of w that it looks
ahead is `jm.argmin` with one step ("second order" in the paper) or none ("first order");
steps of alpha and of w take turns. The largest alpha of each edge is the cell that is then
trained from new weights on all training classes. So are, alike, cells drawn at random; the
best of these by validation classes (random search: Li, Talwalkar 2019, arXiv:1902.07638);
3x3 convolutions throughout; and a Conv4 whose filters are chosen so that it has as many
parameters as the cell of DARTS. What differs from the paper: two nodes to its four, five
operations, layer norm for batch norm (so that no prediction depends on other queries),
no "none" among the operations.
"""

import argparse
import functools
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import jaxmeta as jm
from benchmarks import common, digits
from jaxmeta.convolution import conv, max_pool

HERE = Path(__file__).parent
RESULT = HERE / "results" / "architecture.json"
PAGE, BEGIN, END = (
    HERE / "README.md",
    "<!-- architecture: begin -->",
    "<!-- architecture: end -->",
)
EDGES, CELLS, FILTERS = ("0-1", "0-2", "1-2"), 2, 16
SEARCH, TRAIN, JUDGED, RANDOM = (20, 1, 3), (20, 1, 3), (20, 1, 5), 3
SEARCHED, TRAINED, EPISODES = 300, 400, 1000
OF_ALPHA, OF_W, RATE = 0.03, 0.05, 3e-3
WAYS = {"second order": 1, "first order": 0}  # steps looked ahead
CONTROL = f"a random cell, mean of {RANDOM}"


def normed(x):
    """Each image by itself, and with no parameters, as DARTS's norms have none."""
    mean = x.mean((1, 2, 3), keepdims=True)
    return (x - mean) * lax.rsqrt(x.var((1, 2, 3), keepdims=True) + 1e-5)


def window(x, combine, edge):
    """What `combine` makes of 3x3 windows, `SAME`: of rows, then of columns."""
    for axis in (1, 2):
        size = x.shape[axis]
        pads = [(int(i == axis),) * 2 for i in range(4)]
        padded = jnp.pad(x, pads, constant_values=edge)
        parts = [lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(3)]
        x = functools.reduce(combine, parts)
    return x


class Operation(NamedTuple):
    """The kernel's shape for c channels, and `(kernel, x) -> y`, shaped like x."""

    shape: Callable[[int], tuple[int, ...]]
    apply: Callable


OPERATIONS = {
    "conv 3x3": Operation(
        lambda c: (3, 3, c, c), lambda w, x: normed(conv(jax.nn.relu(x), w))
    ),
    "conv 1x1": Operation(
        lambda c: (1, 1, c, c), lambda w, x: normed(jax.nn.relu(x) @ w[0, 0])
    ),
    "max pool": Operation(
        lambda c: (0,), lambda w, x: normed(window(x, jnp.maximum, -jnp.inf))
    ),
    "mean pool": Operation(
        lambda c: (0,), lambda w, x: normed(window(x, jnp.add, 0.0) / 9)
    ),
    "identity": Operation(lambda c: (0,), lambda w, x: x),
}
NAMES = tuple(OPERATIONS)


def network(chosen: tuple[int, ...] | None = None, filters: int = FILTERS) -> jm.Model:
    """The mixture, with "alpha" among its parameters, or one operation an edge."""
    kept = [NAMES if chosen is None else (NAMES[chosen[e]],) for e in range(len(EDGES))]

    def init(key, inputs):
        keys = iter(jax.random.split(key, 1 + len(EDGES) * len(NAMES)))

        def kernel(*shape, fan):
            return (2 / fan) ** 0.5 * jax.random.normal(next(keys), shape)

        def kernels(name):  # of all cells
            shape = OPERATIONS[name].shape(filters)
            return kernel(CELLS, *shape, fan=max(np.prod(shape[:-1]), 1))

        channels = inputs.shape[-1]
        stem = kernel(3, 3, channels, filters, fan=9 * channels)
        cells = [{name: kernels(name) for name in names} for names in kept]
        params = {"w": {"stem": stem, "cells": cells}}
        if chosen is None:
            params["alpha"] = jnp.zeros((len(EDGES), len(NAMES)))
        return jm.Meta(params)

    def apply(meta, x, *, train=False, key=None):
        w = meta.params["w"]
        alpha = meta.params.get("alpha", jnp.zeros((len(EDGES), 1)))
        shares = jax.nn.softmax(alpha)

        def cell(x, kernels):
            def mixed(edge, x):
                outs = [OPERATIONS[n].apply(kernels[edge][n], x) for n in kept[edge]]
                return sum(s * y for s, y in zip(shares[edge], outs, strict=True))

            a = mixed(0, x)
            return normed(a + mixed(1, x) + mixed(2, a)), None

        x = max_pool(normed(conv(x, w["stem"], stride=2)))
        x = max_pool(lax.scan(cell, x, w["cells"])[0])
        return x.reshape(len(x), -1) / x.shape[-1] ** 0.5, meta.buffers

    return jm.Model(init, apply)


def ahead(loss: Callable, steps: int) -> Callable:
    """`(alpha, w, xi, seen, judged) -> L(w - xi grad_w L(w, alpha; seen), alpha; judged)`.

    `loss` is `(w, alpha, episode) -> scalar`; `steps` is 1, or 0 for w itself.
    """

    def outer(alpha, w, xi, seen, judged):
        inner = lambda w, alpha: loss(w, alpha, seen)  # noqa: E731
        found = jm.argmin(inner, w, alpha, optax.sgd(xi), steps=steps)
        return loss(found.params, alpha, judged)

    return outer


def loss_of(learner: jm.MetaLearner) -> Callable:
    """`(w, alpha, episode) -> scalar`; this loss draws nothing."""
    key = jax.random.key(0)
    return lambda w, alpha, episode: learner.loss(
        jm.Meta({"w": w, "alpha": alpha}), episode, key
    )[0]


def halves(data: jm.data.Dataset):
    """Three quarters of the classes to move w by, the others to move alpha by."""
    names = np.random.default_rng(0).permutation(data.names).tolist()
    cut = 3 * len(names) // 4
    parts = names[:cut], names[cut:]
    return [jm.tasks.few_shot(jm.data.take_classes(data, p), *SEARCH) for p in parts]


@functools.partial(jax.jit, static_argnames=("look", "steps", "filters"))
def search(tasks, key, *, look: int, steps: int = SEARCHED, filters: int = FILTERS):
    """alpha `[steps, edges, operations]` as alpha and w take turns, and losses on V."""
    learner = jm.protonet(network(filters=filters))
    loss = loss_of(learner)
    outer = ahead(loss, look)
    params = learner.init(key, tasks[0](key)).params
    falling = optax.cosine_decay_schedule(OF_W, steps)
    of_alpha, of_w = optax.adam(OF_ALPHA, b1=0.5), optax.sgd(falling, momentum=0.9)

    def step(carry, at):
        (w, alpha, moments), (key, count) = carry, at
        draws = jax.random.split(key)
        seen, judged = (task(k) for task, k in zip(tasks, draws, strict=True))
        value, slope = jax.value_and_grad(outer)(alpha, w, falling(count), seen, judged)
        updates, first = of_alpha.update(slope, moments[0])
        alpha = optax.apply_updates(alpha, updates)
        updates, second = of_w.update(jax.grad(loss)(w, alpha, seen), moments[1])
        w = optax.apply_updates(w, updates)
        return (w, alpha, (first, second)), (alpha, value)

    w, alpha = params["w"], params["alpha"]
    first = w, alpha, (of_alpha.init(alpha), of_w.init(w))
    each = jax.random.split(key, steps), jnp.arange(steps)
    return lax.scan(step, first, each)[1]


def size_of(model: jm.Model) -> int:
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    return sum(x.size for x in jax.tree.leaves(shapes.params))


def conv4_like(size: int) -> jm.Model:
    """The Conv4 whose number of parameters is nearest."""
    models = [jm.models.conv4(None, filters=n, norm="layer") for n in range(2, 33)]
    return min(models, key=lambda model: abs(size_of(model) - size))


def accuracy(data, model: jm.Model, seed: int, steps: int = TRAINED) -> dict:
    """In percent, on validation and test classes, after training from new weights."""
    learner = jm.protonet(model)
    task = jm.tasks.few_shot(data.train, *TRAIN)
    rate = optax.cosine_decay_schedule(RATE, steps)
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(rate))
    key = jax.random.key(1000 + seed)

    @jax.jit
    def fitted(task):
        state = trainer.init(key, jm.train.sample_batch(task, key, 1))
        return jm.fit(trainer, task, state, key, steps=steps, batch=1)[0].meta

    meta, found = fitted(task), {}
    head = jm.protonet(jm.models.flat())
    for part in ("val", "test"):  # the same episodes for every network
        features = jm.data.embed(
            model, meta, getattr(data, part), batch=64, cache=False
        )
        judged = jm.tasks.few_shot(features, *JUDGED)
        score = jm.evaluate(
            head, jm.Meta({}, {}), judged, jax.random.key(7), episodes=EPISODES
        )
        found[part] = 100 * float(score.mean)
    return found


def measure(data, tasks, seed: int, done: list[dict], keep: Callable[[], None]) -> None:
    """Adds what lacks to the rows of a seed, and keeps each as it comes."""

    def add(way: str, model: Callable[[], tuple[jm.Model, dict]]):
        if not any(row["way"] == way for row in done):
            began = time.perf_counter()
            net, facts = model()
            row = {"way": way, "size": size_of(net), **facts}
            same = [r for r in done if "cell" in facts and r.get("cell") == row["cell"]]
            if same:  # as would be its start and its training
                row |= {part: same[0][part] for part in ("val", "test")}
            else:
                row |= accuracy(data, net, seed)
            done.append({**row, "seconds": time.perf_counter() - began})
            print(seed, {k: v for k, v in done[-1].items() if k != "path"}, flush=True)
            keep()

    def cell(chosen, **facts):
        chosen = tuple(map(int, chosen))
        return network(chosen), {"cell": [NAMES[i] for i in chosen], **facts}

    def searched(look):
        began = time.perf_counter()
        path, values = jax.device_get(search(tasks, jax.random.key(seed), look=look))
        took, last = time.perf_counter() - began, values[-len(values) // 10 :]
        shares = np.asarray(jax.nn.softmax(path[:: max(len(path) // 10, 1)]))
        return cell(
            path[-1].argmax(-1), path=shares.round(3).tolist(),
            loss=float(last.mean()), seconds_of_search=took,
        )  # fmt: skip

    for way, look in WAYS.items():
        add(way, lambda look=look: searched(look))
    draw = np.random.default_rng(seed).integers(len(NAMES), size=(RANDOM, len(EDGES)))
    for i, chosen in enumerate(draw):
        add(f"random {i}", lambda chosen=chosen: cell(chosen))
    add("conv 3x3 throughout", lambda: cell([0] * len(EDGES)))
    add("Conv4", lambda: (conv4_like(done[0]["size"]), {}))


def rows_of(run: dict) -> dict[str, dict]:
    """Way -> row, with random cells as their mean and as their best."""
    rows = {row["way"]: row for row in run["rows"]}
    drawn = [rows.pop(f"random {i}") for i in range(RANDOM)]
    mean = {k: statistics.mean(row[k] for row in drawn) for k in ("test", "size")}
    best = max(drawn, key=lambda row: row["val"])
    return {**rows, CONTROL: mean, f"the best of these {RANDOM} by validation": best}


def table(found: dict) -> str:
    runs = [rows_of(run) for run in found["runs"].values()]
    lines = [
        "| network | test accuracy | above a random cell, in pairs | parameters "
        "| cell: edges 0-1, 0-2, 1-2 |",
        "|---|---|---|---|---|",
    ]
    for way in runs[0]:
        of = [run[way] for run in runs]
        gaps = [run[way]["test"] - run[CONTROL]["test"] for run in runs]
        above = "" if way == CONTROL else digits.interval(gaps)
        cells = "; ".join(
            dict.fromkeys(", ".join(row["cell"]) for row in of if "cell" in row)
        )
        size = statistics.mean(row["size"] for row in of)
        lines.append(
            f"| {way} | {digits.interval([row['test'] for row in of])} % | {above} "
            f"| {size:,.0f} | {cells} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, choices=digits.T95)
    parser.add_argument("--table", action="store_true", help="writes it, runs nothing")
    options = parser.parse_args()
    found = json.loads(RESULT.read_text()) if RESULT.exists() else {"runs": {}}
    if not options.table:
        found["machine"] = common.machine()
        data = jm.data.omniglot(Path(os.environ["JAXMETA_DATA"]) / "omniglot")
        tasks = halves(data.train)
        for seed in range(options.seeds):
            run = found["runs"].setdefault(str(seed), {"rows": []})
            measure(
                data, tasks, seed, run["rows"],
                lambda: RESULT.write_text(json.dumps(found, indent=1) + "\n"),
            )  # fmt: skip
    common.write_between(PAGE, BEGIN, END, table(found))
    print(table(found))


if __name__ == "__main__":
    main()
