"""Weights for examples, found while a network trains on them: a few clean ones say how.

    JAXMETA_DATA=DIR python -m benchmarks.reweighting imbalance [--seeds 3]
    JAXMETA_DATA=DIR python -m benchmarks.reweighting noise [--seeds 5]
    python -m benchmarks.reweighting table

imbalance: Ren et al. 2018, Learning to Reweight Examples (arXiv:1803.09050), section 4.1:
5,000 MNIST digits, a 4 for every 1 to 200 nines; five of each are the clean set, and stay
among the 5,000, so that no method has seen more; all balanced digits of the test set. The
paper trains a LeNet for 8,000 steps, this is an MLP and 4,000.

noise: Shu et al. 2019, Meta-Weight-Net (arXiv:1902.07379), on MNIST: 10,000 digits, 40 %
of whose labels are drawn anew from all ten, 1,000 clean ones. Methods without an outer
loss train on both, the others see the clean ones through the outer loss alone.

Both take the slope of the clean loss after one inner step of SGD, by `jm.argmin`. Each
method has five learning rates; seed 99 chooses, by digits of the training files that are
in no other part; for Meta-Weight-Net, how long V waits, too. Test digits are looked at by the
runs of the table, and were before: a try at constant rates, one seed, after which rates were
made to fall; and those of noise by two whole runs, after which Meta-Weight-Net's weights were
normalised, and V was given its start and its wait by validation digits of other seeds.
"""

import argparse
import functools
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import jaxmeta as jm
from benchmarks import digits

RESULT = Path(__file__).parent / "results" / "reweighting.json"
RATIOS, RATES = (1, 10, 50, 100, 200), (0.01, 0.03, 0.1, 0.3, 1.0)
BATCH, TUNING = 100, 99
ROWS = {"imbalance": 5000, "noise": 10_000}
STEPS = {"imbalance": 4000, "noise": 4000}
FLIPPED, CLEAN, VALID, OWN_RATE, WAITS = 0.4, 1000, 2000, 1e-3, (0, 200, 400, 800)
LOSSES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # where V is noted
NET = {
    "imbalance": jm.models.mlp(2, hidden=(100,)),
    "noise": jm.models.mlp(10, hidden=(100,)),
}
WEIGHER = jm.models.mlp(1, hidden=(100,))


def errors(net, params, x, y):
    """Cross-entropy of each row, f_i(theta), `[n]`."""
    logits, _ = net.apply(jm.Meta(params), x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y)


# How each method weighs a batch: `(net, memory, params, batch, clean, rate)` to the
# weights `[n]` and what it remembers.


def plain(net, memory, params, batch, clean, rate):
    return jnp.full(len(batch[1]), 1 / len(batch[1])), memory


def proportional(net, memory, params, batch, clean, rate):
    """A class counts as much as another, however rare: `memory` is 1 / its share."""
    return memory[batch[1]] / (len(memory) * len(batch[1])), memory


def reweight(net, memory, params, batch, clean, rate):
    """Learning to reweight, algorithm 1."""

    def weighted(params, eps):
        return jnp.sum(eps * errors(net, params, *batch))

    def after(eps):  # the clean loss after one step on the weighted batch
        found = jm.argmin(weighted, params, eps, optax.sgd(rate), steps=1)
        return jnp.mean(errors(net, found.params, *clean))

    slope = -jax.grad(after)(jnp.zeros(len(batch[1])))  # at eps = 0
    weights = jnp.maximum(slope, 0)  # none counts against the clean set
    total = jnp.sum(weights)
    return weights / (total + (total == 0)), memory


def judge(theta, losses):
    """V(L; theta), a weight in (0, 1) for each loss."""
    return jax.nn.sigmoid(WEIGHER.apply(jm.Meta(theta), losses[:, None])[0][:, 0])


def weigher(key, *, drawn: bool = False, wait: int = 0):
    """Meta-Weight-Net's memory: V, the moments of its Adam, and the steps it is to wait.

    V begins as 1/2 for every loss. Drawn at random a network of one number is nearly a
    line, whose sign is chance: one that rises is at 1 for all but the least losses before
    the clean ones have said that it should fall, and has no slope there.
    """
    theta = WEIGHER.init(key, jnp.zeros((1, 1))).params
    if not drawn:
        theta = {**theta, "head": jax.tree.map(jnp.zeros_like, theta["head"])}
    return theta, optax.adam(OWN_RATE).init(theta), jnp.asarray(wait)


def weight_net(net, memory, params, batch, clean, rate):
    """Meta-Weight-Net, algorithm 1: V learns by the clean loss, then it weighs.

    Weights of a batch sum to 1. Left as they are, their sum is a learning rate: V learns
    that a longer step is better, ends at 1 for every loss, and has no slope there. While
    V waits, all weigh alike: at first a high loss is one of what is not learned yet,
    whatever its label, and it is later that it is one of a wrong label.
    """
    theta, moments, wait = memory
    seen = lax.stop_gradient(errors(net, params, *batch))

    def weighted(params, theta):
        weights = judge(theta, seen)
        return jnp.sum(weights * errors(net, params, *batch)) / jnp.sum(weights)

    def after(theta):
        found = jm.argmin(weighted, params, theta, optax.sgd(rate), steps=1)
        return jnp.mean(errors(net, found.params, *clean))

    slope = jax.grad(after)(theta)
    updates, learned = optax.adam(OWN_RATE).update(slope, moments)
    moved = optax.apply_updates(theta, updates), learned
    theta, moments = jax.tree.map(
        lambda new, old: jnp.where(wait > 0, old, new), moved, (theta, moments)
    )
    weights = judge(theta, seen)  # by the V that has just learned
    weights = jnp.where(wait > 0, 1.0, weights)
    return weights / jnp.sum(weights), (theta, moments, jnp.maximum(wait - 1, 0))


def some(rows, key):
    """A batch, with replacement; all of them where they are fewer."""
    if len(rows[1]) <= BATCH:
        return rows
    chosen = jax.random.randint(key, (BATCH,), 0, len(rows[1]))
    return rows[0][chosen], rows[1][chosen]


@functools.partial(jax.jit, static_argnames=("net", "weigh", "steps"))
def train(rows, clean, memory, rate, key, *, net, weigh, steps):
    """The parameters after `steps` of SGD on weighted batches, and the memory.

    The rate falls to 0 by a cosine: where few examples weigh, the last step is noisy.
    """
    init, key = jax.random.split(key)
    params = net.init(init, rows[0][:1]).params
    falling = optax.cosine_decay_schedule(rate, steps)

    def step(carry, at):
        (params, memory), (count, key) = carry, at
        rate = falling(count)
        draw = jax.random.split(key)
        batch = some(rows, draw[0])
        weights, memory = weigh(net, memory, params, batch, some(clean, draw[1]), rate)
        loss = lambda params: jnp.sum(weights * errors(net, params, *batch))  # noqa: E731
        slope = jax.grad(loss)(params)
        return (jax.tree.map(lambda p, g: p - rate * g, params, slope), memory), None

    steps_of = jnp.arange(steps), jax.random.split(key, steps)
    return lax.scan(step, (params, memory), steps_of)[0]


def wrong(net, params, x, y) -> float:
    """The error in percent."""
    logits, _ = net.apply(jm.Meta(params), jnp.asarray(x))
    return float(100 * jnp.mean(jnp.argmax(logits, -1) != jnp.asarray(y)))


def imbalanced(data, ratio: int, seed: int):
    """Rows, five and five of them that are clean, and validation digits; a 4 is 0."""
    draw = np.random.default_rng(seed)
    x, y = data
    rare, common = (draw.permutation(np.flatnonzero(y == digit)) for digit in (4, 9))
    few = round(ROWS["imbalance"] / (ratio + 1))
    many = ROWS["imbalance"] - few
    held = VALID // 4
    parts = (
        (rare[:few], common[:many]),
        (rare[:5], common[:5]),
        (rare[-held:], common[-held:]),
    )
    return [
        (x[np.concatenate(part)], np.repeat([0, 1], list(map(len, part))))
        for part in parts
    ]


def noisy(data, seed: int):
    """Rows, which of their labels are right, clean ones, validation digits."""
    draw = np.random.default_rng(seed)
    x, y = data
    size = ROWS["noise"]
    chosen = draw.permutation(len(y))[: size + CLEAN + VALID]
    x, y = x[chosen], y[chosen].astype(int)
    flipped = draw.random(size) < FLIPPED
    seen = np.where(flipped, draw.integers(0, 10, size), y[:size])
    clean, valid = slice(size, size + CLEAN), slice(size + CLEAN, None)
    return (
        (x[:size], seen),
        seen == y[:size],
        (x[clean], y[clean]),
        (x[valid], y[valid]),
    )


def imbalance_methods(rows, clean):
    """name -> `(rows, way to weigh, memory)`."""
    shares = np.bincount(rows[1], minlength=2) / len(rows[1])
    return {
        "plain": (rows, plain, ()),
        "clean set alone": (clean, plain, ()),
        "proportional weights": (rows, proportional, jnp.asarray(1 / shares)),
        "learning to reweight": (rows, reweight, ()),
    }


def noise_methods(rows, right, clean, seed):
    both = tuple(map(np.concatenate, zip(rows, clean, strict=True)))
    good = np.concatenate([right, np.ones(len(clean[1]), bool)])
    # each right one as often as another, give or take one: the same shape for all seeds
    oracle = tuple(np.resize(z[good], z.shape) for z in both)
    key = jax.random.key(seed)
    methods = {
        "plain": (both, plain, ()),
        "clean set alone": (clean, plain, ()),
        "learning to reweight": (rows, reweight, ()),
        "V drawn at random": (rows, weight_net, weigher(key, drawn=True)),
    }
    for wait in WAITS:
        memory = weigher(key, wait=wait)
        methods[f"V waits for {wait} steps"] = (rows, weight_net, memory)
    return {**methods, "right labels alone": (oracle, plain, ())}


def run(kind, method, clean, rate, seed, steps=None):
    rows, weigh, memory = jax.tree.map(
        lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, method
    )
    return train(
        rows, tuple(map(jnp.asarray, clean)), memory, rate, jax.random.key(seed),
        net=NET[kind], weigh=weigh, steps=steps or STEPS[kind],
    )  # fmt: skip


def choose(kind, methods, clean, valid) -> dict:
    """The rate of each method, by validation digits, and all that was tried."""
    tried = {
        name: {
            r: wrong(NET[kind], run(kind, m, clean, r, TUNING)[0], *valid)
            for r in RATES
        }
        for name, m in methods.items()
    }
    for name, found in tried.items():
        print(f"  {name}: {found}", flush=True)
    return {name: min(found, key=found.get) for name, found in tried.items()}, tried


def imbalance(seeds: int) -> dict:
    data, test = digits.read("train"), digits.read("t10k")
    kept = (test[1] == 4) | (test[1] == 9)
    test = test[0][kept], (test[1][kept] == 9).astype(int)
    rows, clean, valid = imbalanced(data, 100, TUNING)
    rates, tried = choose("imbalance", imbalance_methods(rows, clean), clean, valid)
    runs = []
    for seed in range(seeds):
        for ratio in RATIOS:
            rows, clean, _ = imbalanced(data, ratio, seed)
            found = {"seed": seed, "ratio": ratio, "rare": int(np.sum(rows[1] == 0))}
            for name, method in imbalance_methods(rows, clean).items():
                params, _ = run("imbalance", method, clean, rates[name], seed)
                found[name] = wrong(NET["imbalance"], params, *test)
            runs.append(found)
            print(found, flush=True)
    return {"rates": rates, "tried": tried, "runs": runs}


def noise(seeds: int) -> dict:
    data, test = digits.read("train"), digits.read("t10k")
    rows, right, clean, valid = noisy(data, TUNING)
    methods = noise_methods(rows, right, clean, TUNING)
    rates, tried = choose("noise", methods, clean, valid)
    waits = [name for name in methods if name.startswith("V waits")]
    chosen = min(waits, key=lambda name: tried[name][rates[name]])
    for name in set(waits) - {waits[0], chosen}:  # no test for these
        del rates[name]
    runs = []
    for seed in range(seeds):
        rows, right, clean, _ = noisy(data, seed)
        found = {"seed": seed, "right": float(right.mean()), "weight_net": {}}
        methods = noise_methods(rows, right, clean, seed)
        for name, method in ((name, methods[name]) for name in rates):
            params, memory = run("noise", method, clean, rates[name], seed)
            found[name] = wrong(NET["noise"], params, *test)
            if method[1] is weight_net:
                seen = errors(NET["noise"], params, *map(jnp.asarray, rows))
                weights = np.asarray(judge(memory[0], seen))
                found["weight_net"][name] = {
                    "right": float(weights[right].mean()),
                    "wrong": float(weights[~right].mean()),
                    "of_losses": judge(memory[0], jnp.asarray(LOSSES)).tolist(),
                }
        runs.append(found)
        print(found, flush=True)
    return {"rates": rates, "tried": tried, "chosen": chosen, "runs": runs}


def table(found: dict) -> str:
    lines = []
    if "imbalance" in found:
        runs, names = found["imbalance"]["runs"], list(found["imbalance"]["rates"])
        lines += [
            "| nines for a 4 | " + " | ".join(names) + " |",
            "|---" * (len(names) + 1) + "|",
        ]
        for ratio in RATIOS:
            here = [r for r in runs if r["ratio"] == ratio]
            cells = (f"{digits.interval([r[name] for r in here])} %" for name in names)
            lines.append(f"| {ratio} | " + " | ".join(cells) + " |")
    if "noise" in found:
        runs, chosen = found["noise"]["runs"], found["noise"]["chosen"]
        lines += ["", "| trained on noisy labels | test error |", "|---|---|"]
        for name in found["noise"]["rates"]:
            said = f"Meta-Weight-Net, {name}" if name[:2] == "V " else name
            said += ", chosen" if name == chosen else ""
            lines.append(f"| {said} | {digits.interval([r[name] for r in runs])} % |")
        losses = " | ".join(f"{x:g}" for x in LOSSES)
        lines += [
            "",
            f"| seed | V | right | wrong | V at a loss of {losses} |",
            "|---" * (4 + len(LOSSES)) + "|",
        ]
        for name in ("V drawn at random", chosen):
            for r in runs:
                one = r["weight_net"][name]
                cells = [one["right"], one["wrong"], *one["of_losses"]]
                shown = " | ".join(f"{x:.3f}" for x in cells)
                lines.append(f"| {r['seed']} | {name} | {shown} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("imbalance", "noise", "table"))
    parser.add_argument("--seeds", type=int, default=3, choices=digits.T95)
    options = parser.parse_args()
    if options.part != "table":
        began = time.perf_counter()
        found = {"imbalance": imbalance, "noise": noise}[options.part](options.seeds)
        found["seconds"] = time.perf_counter() - began
        digits.keep(RESULT, options.part, found)
    print(table(json.loads(RESULT.read_text())))


if __name__ == "__main__":
    main()
