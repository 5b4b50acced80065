"""Which operation in which layer, by gradient: DARTS on few-shot episodes.

    JAXMETA_DATA=DIR python -m benchmarks.architecture [--seeds 3]

Liu et al. 2019, DARTS (arXiv:1806.09055), in small. A ProtoNet for Omniglot, 5-way 1-shot,
at 28x28: a convolution of stride 2, then three layers with a pooling between them, each a
mixture of five operations,

    sum_o softmax(alpha)_o o(x),     min_alpha L(w - xi grad_w L(w, alpha; T), alpha; V),

T episodes of training classes, V those of validation classes. The inner step is `jm.argmin`
with one step ("second order" in the paper) or none ("first order"), alternating with a
step of w. The largest alpha of each layer is the network that is then trained from new
weights, and tested on test classes; beside networks drawn at random and convolutions of
3x3, all with the same training. One thing that is not the paper's: a chain of layers, where
it searches a graph.
"""

import argparse
import json
import os
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import jaxmeta as jm
from benchmarks import common, digits

RESULT = Path(__file__).parent / "results" / "architecture.json"
FILTERS, LAYERS, SIZES = 8, 3, (5, 1, 5)
SEARCH, TRAIN, BATCH, EPISODES, RANDOM = 150, 150, 1, 300, 2
OUTER, RATE, XI = 0.02, 3e-3, 0.05


def conv(x, kernel, stride=1, groups=1):
    names = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), "SAME", dimension_numbers=names,
        feature_group_count=groups,
    )  # fmt: skip


def normed(x):
    """With the statistics of the batch, and no parameters, as in DARTS's search."""
    mean = x.mean((0, 1, 2), keepdims=True)
    return (x - mean) * lax.rsqrt(x.var((0, 1, 2), keepdims=True) + 1e-5)


def pool(x, size, stride, pad):
    sizes, strides = (1, size, size, 1), (1, stride, stride, 1)
    return lax.reduce_window(x, -jnp.inf, lax.max, sizes, strides, pad)


OPERATIONS = {
    "conv 3x3": (
        (3, 3, FILTERS, FILTERS),
        lambda w, x: normed(conv(jax.nn.relu(x), w)),
    ),
    "conv 5x5": (
        (5, 5, FILTERS, FILTERS),
        lambda w, x: normed(conv(jax.nn.relu(x), w)),
    ),
    "depthwise 3x3": (
        (3, 3, 1, FILTERS),
        lambda w, x: normed(conv(jax.nn.relu(x), w, groups=FILTERS)),
    ),
    "max pool 3x3": ((0,), lambda w, x: normed(pool(x, 3, 1, "SAME"))),
    "identity": ((0,), lambda w, x: x),
}
NAMES = tuple(OPERATIONS)


def network(chosen: tuple[int, ...] | None = None) -> jm.Model:
    """The mixture, with "alpha" among its parameters, or one operation a layer."""

    def kernel(key, shape):
        fan = max(int(np.prod(shape[:-1])), 1)
        return jax.random.normal(key, shape) * (2 / fan) ** 0.5

    def init(key, inputs):
        stem, *keys = jax.random.split(key, 1 + LAYERS * len(NAMES))
        keys = np.reshape(np.arange(len(keys)), (LAYERS, -1)), keys
        weights = [
            {
                name: kernel(keys[1][keys[0][i, j]], OPERATIONS[name][0])
                for j, name in enumerate(NAMES)
                if chosen is None or chosen[i] == j
            }
            for i in range(LAYERS)
        ]
        params = {"w": {"stem": kernel(stem, (3, 3, 1, FILTERS)), "layers": weights}}
        if chosen is None:
            params["alpha"] = jnp.zeros((LAYERS, len(NAMES)))
        return jm.Meta(params)

    def apply(meta, x, *, train=False, key=None):
        w = meta.params["w"]
        x = normed(conv(x, w["stem"], 2))
        for i, layer in enumerate(w["layers"]):
            outs = [OPERATIONS[name][1](layer[name], x) for name in layer]
            if chosen is None:
                share = jax.nn.softmax(meta.params["alpha"][i])
                outs = [s * y for s, y in zip(share, outs, strict=True)]
            x = pool(sum(outs), 2, 2, "VALID")
        return jax.nn.relu(x).reshape(len(x), -1), meta.buffers

    return jm.Model(init, apply)


def loss_of(learner: jm.MetaLearner):
    """`(params, episodes) -> mean loss`."""

    def loss(params, episodes):
        keys = jax.random.split(jax.random.key(0), len(episodes.query.targets))
        each = jax.vmap(learner.loss, (None, 0, 0))
        return each(jm.Meta(params), episodes, keys)[0].mean()

    return loss


def search(data, steps_ahead: int, seed: int, steps: int = SEARCH):
    """alpha after alternating steps; `steps_ahead` is 1 or 0."""
    learner = jm.protonet(network())
    mean = loss_of(learner)
    train, valid = (jm.tasks.few_shot(part, *SIZES) for part in (data.train, data.val))
    key = jax.random.key(seed)
    params = learner.init(key, train(key)).params
    outer, inner = optax.adam(OUTER, b1=0.5), optax.adam(RATE)

    def ahead(alpha, w, seen, judged):
        found = jm.argmin(
            lambda w, alpha: mean({"w": w, "alpha": alpha}, seen), w, alpha,
            optax.sgd(XI), steps=steps_ahead,
        )  # fmt: skip
        return mean({"w": found.params, "alpha": alpha}, judged)

    def step(carry, key):
        w, alpha, moments = carry
        seen, judged = (
            jm.train.sample_batch(task, k, BATCH)
            for task, k in zip((train, valid), jax.random.split(key), strict=True)
        )
        value, slope = jax.value_and_grad(ahead)(alpha, w, seen, judged)
        updates, of_alpha = outer.update(slope, moments[0])
        alpha = optax.apply_updates(alpha, updates)
        slope = jax.grad(lambda w: mean({"w": w, "alpha": alpha}, seen))(w)
        updates, of_w = inner.update(slope, moments[1])
        return (optax.apply_updates(w, updates), alpha, (of_alpha, of_w)), value

    moments = outer.init(params["alpha"]), inner.init(params["w"])
    first = (params["w"], params["alpha"], moments)
    keys = jax.random.split(key, steps)
    (_, alpha, _), values = jax.jit(lambda: lax.scan(step, first, keys))()
    return alpha, float(values[-len(values) // 10 :].mean())


def accuracy(data, chosen, seed: int, steps: int = TRAIN) -> float:
    """In percent, of test classes, of a network that is trained from new weights."""
    learner = jm.protonet(network(chosen))
    train, test = (jm.tasks.few_shot(part, *SIZES) for part in (data.train, data.test))
    trainer = jm.make_trainer(jm.episodic(learner), optax.adam(RATE))
    key = jax.random.key(1000 + seed)

    @jax.jit
    def fitted():
        state = trainer.init(key, jm.train.sample_batch(train, key, 1))
        return jm.fit(trainer, train, state, key, steps=steps, batch=BATCH)[0].meta

    found = jm.evaluate(learner, fitted(), test, jax.random.key(7), episodes=EPISODES)
    return 100 * float(found.mean)


def named(chosen) -> list[str]:
    return [NAMES[i] for i in chosen]


def measure(data, seed: int) -> dict:
    draw, rows = np.random.default_rng(seed), []

    def note(way, chosen, **more):
        chosen = tuple(int(i) for i in chosen)
        score = accuracy(data, chosen, seed)
        rows.append({"way": way, "layers": named(chosen), "accuracy": score, **more})
        print(seed, rows[-1], flush=True)

    for way, ahead in (("second order", 1), ("first order", 0)):
        began = time.perf_counter()
        alpha, value = search(data, ahead, seed)
        took = time.perf_counter() - began
        shares = np.asarray(jax.nn.softmax(alpha)).round(3).tolist()
        note(way, alpha.argmax(-1), shares=shares, validation=value, seconds=took)
    note("conv 3x3 throughout", [0] * LAYERS)
    for _ in range(RANDOM):
        note("random", draw.integers(len(NAMES), size=LAYERS))
    return {"seed": seed, "rows": rows}


def table(found: dict) -> str:
    lines = ["| network | test accuracy | layers, by seed |", "|---|---|---|"]
    ways = dict.fromkeys(row["way"] for row in found["runs"][0]["rows"])
    for way in ways:
        rows = [[r for r in run["rows"] if r["way"] == way] for run in found["runs"]]
        means = [statistics.mean(r["accuracy"] for r in of) for of in rows]
        said = "; ".join(", ".join(of[0]["layers"]) for of in rows)
        shown = f"{RANDOM} a seed" if way == "random" else said
        lines.append(f"| {way} | {digits.interval(means)} % | {shown} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, choices=digits.T95)
    options = parser.parse_args()
    machine = common.machine()
    data = jm.data.omniglot(Path(os.environ["JAXMETA_DATA"]) / "omniglot")
    found = {"machine": machine, "runs": []}
    for seed in range(options.seeds):
        found["runs"].append(measure(data, seed))
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
