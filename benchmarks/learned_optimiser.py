"""An optimiser that is a network, learned by persistent evolution on long unrolls.

    JAXMETA_DATA=DIR python -m benchmarks.learned_optimiser choose
    JAXMETA_DATA=DIR python -m benchmarks.learned_optimiser learn [--seeds 3]
    python -m benchmarks.learned_optimiser table

`jm.rules.coordinate_mlp` (Metz et al. 2019, arXiv:1810.10180), 178 numbers,
is what an MLP of one layer is trained by, for 200 steps on batches of 32 MNIST
digits of 7x7 pixels. The outer loss is the mean of the losses of all steps, each on digits not
seen in it yet. Ways to its slope, all values of `jaxmeta.gradients`, in windows of twenty
steps after each of which the rule moves, four tasks at a time, each at another place of its
200 steps:

persistent evolution: Vicol et al. 2021 (arXiv:2112.13835); particles go on over windows.
truncated: `unrolled()` through one window; where it begins is a constant. In windows of
five steps, too, with four times as many moves.
exact: `unrolled()` through all 200 steps, and so a tenth of the moves for as many steps.

Rivals are SGD with momentum and Adam of Optax, with the best of a grid of rates, constant or
falling by a cosine: for the mean of the losses, and for the loss at the end, on validation
digits. Outer rates are chosen so, too, by seed 99. Test digits are looked at once, by the
runs of the table.
"""

import argparse
import functools
import json
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.flatten_util import ravel_pytree

import jaxmeta as jm
from benchmarks import common, digits
from jaxmeta.core import Array, Key, PyTree
from jaxmeta.gradients import (
    PersistentEvolution,
    Problem,
    persistent_evolution,
    unrolled,
)

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "learned_optimiser.json", HERE / "README.md"
BEGIN, END = "<!-- learned optimiser: begin -->", "<!-- learned optimiser: end -->"
TRAIN, VALID, BATCH, TUNING = 10_000, 5_000, 32, 99
STEPS, WINDOW, LONG, TASKS, TRIALS, DRAWS = 200, 20, 1000, 4, 8, 32
OUTER, OUTER_RATES = 600, (1e-2, 3e-2, 1e-1)
NET, WIDE = (jm.models.mlp(10, hidden=(width,)) for width in (16, 64))
rule = functools.partial(
    jm.rules.coordinate_mlp, hidden=(16,), decays=(0.5, 0.9, 0.99),
    times=(10, 30, 100), scale=0.01, stretch=0.1,
)  # fmt: skip
RULE = rule()  # its key decides where its numbers begin, and nothing else
SIZE = {"sigma": 0.03, "pairs": 4}
# name -> a gradient, and the steps between two moves of the rule
WAYS = {
    "persistent evolution": (persistent_evolution(**SIZE, window=WINDOW), WINDOW),
    "truncated": (unrolled(), WINDOW),
    "truncated, 5 steps": (unrolled(), 5),
    "exact": (unrolled(), STEPS),
}
GRID = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
RIVALS = {
    "Adam": optax.adam,
    "SGD with momentum": functools.partial(optax.sgd, momentum=0.9),
}
FALLS = {
    "constant": lambda rate: rate,
    "cosine": lambda rate: optax.cosine_decay_schedule(rate, STEPS),
}


def errors(params, rows, net=NET):
    """Cross-entropy and accuracy in percent."""
    logits, _ = net.apply(jm.Meta(params), rows[0])
    each = optax.softmax_cross_entropy_with_integer_labels(logits, rows[1])
    return jnp.mean(each), 100 * jnp.mean(jnp.argmax(logits, -1) == rows[1])


def begin(key, net=NET):
    return net.init(key, jnp.zeros((1, 49))).params


def begun(key):
    """The rule's numbers before anything is learned."""
    return rule(key=key).init(begin(key))


def batches(rows, key):
    """`step -> batch`, drawn with replacement."""

    def at(step):
        key_of_step = jax.random.fold_in(key, step)
        chosen = jax.random.randint(key_of_step, (BATCH,), 0, len(rows[1]))
        return rows[0][chosen], rows[1][chosen]

    return at


def inner(params, rule_params, batch):
    """What the rule is to make small; it is in the solver that the rule's numbers are."""
    return errors(params, batch)[0]


class Track(NamedTuple):
    """A task on its way.

    Attributes:
      key: decides its start and its batches.
      age: steps since it began; the first ones begin in between.
      at: `Particles`, or `(params, state)`.
    """

    key: Key
    age: Array
    at: PyTree


def fresh(gradient, rule_params, key) -> Track:
    """At the start of all steps."""
    start = begin(key)
    if isinstance(gradient, PersistentEvolution):
        problem = Problem(inner, RULE.make, STEPS)
        return Track(key, jnp.array(0), gradient.begin(problem, start, rule_params))
    state = RULE.make(rule_params).init(start)
    return Track(key, jnp.array(0), (start, state))


def window(gradient, steps: int, rows, track: Track, rule_params, key):
    """The track after so many steps, their mean loss, and its slope in the rule."""
    drawn = batches(rows, jax.random.fold_in(track.key, 1))
    if isinstance(gradient, PersistentEvolution):
        problem = Problem(inner, RULE.make, STEPS, drawn, True)
        at, values = gradient.advance(problem, track.at, rule_params, key)
        slope = gradient.estimate(at, values)[1]
        slope = jax.tree.unflatten(jax.tree.structure(rule_params), slope)
        value = jnp.mean(values)
    else:
        params, state = track.at

        def total(rule_params):
            found = jm.argmin(
                inner, params, rule_params, RULE.make, steps=steps, state=state,
                batches=lambda k: drawn(track.age + k), key=key, gradient=gradient,
            )  # fmt: skip
            return found.losses.sum(), (found.params, found.state)

        (value, at), slope = jax.value_and_grad(total, has_aux=True)(rule_params)
    slope = jax.tree.map(lambda x: x / steps, slope)
    return Track(track.key, track.age + steps, at), value / steps, slope


@functools.partial(jax.jit, static_argnames=("way", "draws"))
def slopes(rows, h, key, *, way: str, draws: int = DRAWS):
    """Of the mean loss of whole trainings at one rule, each the sum over its windows."""
    gradient, steps = WAYS[way]

    def one(key):
        def part(track, key):
            track, _, slope = window(gradient, steps, rows, track, h, key)
            return track, ravel_pytree(slope)[0]

        keys = jax.random.split(jax.random.fold_in(key, 2), STEPS // steps)
        return jnp.mean(lax.scan(part, fresh(gradient, h, key), keys)[1], 0)

    return lax.map(one, jax.random.split(key, draws))


def bias(rows, h, key) -> dict:
    """How long slopes are along the mean exact one, <g, v> / <v, v>, and the cosine.

    Without bias that is 1, and half a 95 % interval of its mean says what chance does.
    """
    each = {way: np.asarray(slopes(rows, h, key, way=way)) for way in WAYS}
    v = each["exact"].mean(0)
    found = {}
    for way, g in each.items():
        length, mean = g @ v / (v @ v), g.mean(0)
        half = 1.96 * length.std(ddof=1) / len(g) ** 0.5
        cosine = mean @ v / np.linalg.norm(mean) / np.linalg.norm(v)
        found[way] = {"along": [float(length.mean()), float(half)]}
        found[way]["cosine"] = float(cosine)
    return found


@functools.partial(jax.jit, static_argnames=("way", "moves"))
def learn(rows, rate, key, *, way: str, moves: int):
    """The rule's numbers after so many moves, and the mean losses on the way."""
    gradient, steps = WAYS[way]
    clip = optax.clip_by_global_norm(1.0)
    outer = optax.chain(clip, optax.adam(optax.cosine_decay_schedule(rate, moves)))
    h, drawn = begun(key), jax.random.split(key)

    def anew(h, keys):
        return jax.vmap(lambda key: fresh(gradient, h, key))(keys)

    def move(carry, key):
        h, moments, tracks = carry
        starting, directions = (
            jax.random.split(k, TASKS) for k in jax.random.split(key)
        )
        over = tracks.age >= STEPS
        begun = anew(h, starting)

        def one(new, old):
            return jax.vmap(lambda o, n, x: jnp.where(o, n, x))(over, new, old)

        tracks = jax.tree.map(one, begun, tracks)
        run = jax.vmap(lambda track, key: window(gradient, steps, rows, track, h, key))
        tracks, values, slopes = run(tracks, directions)
        slope = jax.tree.map(lambda x: jnp.mean(x, 0), slopes)
        updates, moments = outer.update(slope, moments)
        return (optax.apply_updates(h, updates), moments, tracks), jnp.mean(values)

    tracks = anew(h, jax.random.split(drawn[0], TASKS))
    # each at another place, so that every move sees early and late steps
    offsets = jnp.arange(TASKS) * STEPS // TASKS // steps * steps
    tracks = tracks._replace(age=offsets)
    keys = jax.random.split(drawn[1], moves)
    (h, *_), values = lax.scan(move, (h, outer.init(h), tracks), keys)
    return h, values


@functools.partial(jax.jit, static_argnames=("solver", "net", "steps"))
def trained(solver, given, rows, key, *, net=NET, steps=STEPS):
    """Losses of all steps and the parameters after them, of `TRIALS` trainings.

    `solver` makes an optimiser of `given`.
    """

    def one(key):
        drawn = batches(rows, jax.random.fold_in(key, 1))
        loss = lambda params, given, batch: errors(params, batch, net)[0]  # noqa: E731
        found = jm.argmin(
            loss, begin(key, net), given, solver, steps=steps, batches=drawn,
            gradient=jm.gradients.first_order,
        )  # fmt: skip
        return found.losses, found.params

    return jax.vmap(one)(jax.random.split(key, TRIALS))


@functools.partial(jax.jit, static_argnames="net")
def judged(params, rows, net=NET):
    """Cross-entropy and accuracy, means over trainings."""
    return [jnp.mean(x) for x in jax.vmap(lambda p: errors(p, rows, net))(params)]


def scores(solver, given, rows, test, key) -> dict:
    """What the table shows, by trainings that chose nothing."""
    losses, params = trained(solver, given, rows, key)
    loss, right = judged(params, test)
    long = trained(solver, given, rows, key, steps=LONG)[1]
    wide = trained(solver, given, rows, key, net=WIDE)[1]
    found = {"mean": jnp.mean(losses), "loss": loss, "right": right}
    found["long"], found["wide"] = judged(long, test)[1], judged(wide, test, WIDE)[1]
    curve = np.asarray(losses.mean(0)).reshape(-1, 10).mean(1)
    return {k: float(x) for k, x in found.items()} | {"curve": curve.tolist()}


def rival(name: str, fall: str):
    return lambda rate: RIVALS[name](FALLS[fall](rate))


def grid(rows, valid, key) -> dict:
    """name -> what it is best for -> how it falls and its rate; and all that was tried."""
    found = {}
    for name in RIVALS:
        tried = {}
        for fall in FALLS:
            for rate in GRID:
                ends = trained(rival(name, fall), rate, rows, key)
                losses, params = ends
                tried[fall, rate] = (
                    float(jnp.mean(losses)),
                    float(judged(params, valid)[0]),
                )
        best = {
            kind: min(tried, key=lambda at, i=i: tried[at][i])
            for i, kind in enumerate(("mean", "end"))
        }
        shown = {f"{fall} {rate}": x for (fall, rate), x in tried.items()}
        found[name] = {"best": best, "tried": shown}
    return found


def split(seed: int):
    """Digits to train on, digits for validation, digits of the test, at 7x7."""
    x, y = digits.read("train")
    chosen = np.random.default_rng(seed).permutation(len(y))[: TRAIN + VALID]
    rows, held = chosen[:TRAIN], chosen[TRAIN:]
    return small(x[rows], y[rows]), small(x[held], y[held]), small(*digits.read("t10k"))


def small(x, y):
    """Means over squares of 4x4 pixels, to about mean 0 and variance 1."""
    x = x.reshape(-1, 7, 4, 7, 4).mean((2, 4)).reshape(-1, 49)
    return jnp.asarray((x - 0.13) / 0.23), jnp.asarray(y.astype(int))


def choose(file: Path, outer: int) -> None:
    """The outer rate of each way, by trainings on another seed's validation digits."""
    rows, valid, _ = split(TUNING)
    first, second = jax.random.split(jax.random.key(TUNING))
    tried = parts(file, "choose")
    for way in WAYS:
        for rate in OUTER_RATES:
            name = f"{way} {rate}"
            if name in tried:
                continue
            began = time.perf_counter()
            h, _ = learn(rows, rate, first, way=way, moves=moves(way, outer))
            losses, params = trained(RULE.make, h, valid, second)
            mean, right = float(jnp.mean(losses)), float(judged(params, valid)[1])
            tried[name] = {"way": way, "rate": rate, "mean": mean, "right": right}
            tried[name]["seconds"] = time.perf_counter() - began
            print(tried[name], flush=True)
            digits.keep(file, "choose", {"tried": tried})


def parts(file: Path, name: str) -> dict:
    """What is done of a part; killed, it goes on there."""
    kept = json.loads(file.read_text()) if file.exists() else {}
    return kept.get(name, {}).get("tried" if name == "choose" else "runs", {})


def moves(way: str, outer: int) -> int:
    """As many inner steps for each way."""
    return outer * WINDOW // WAYS[way][1]


def measure(seed: int, chosen: dict, outer: int) -> dict:
    rows, valid, test = split(seed)
    first, second, third = jax.random.split(jax.random.key(seed), 3)
    found = {"seed": seed, "ways": {}, "grid": grid(rows, valid, third)}

    def note(name, solver, given, **facts):
        kept = scores(solver, given, rows, test, second) | facts
        found["ways"][name] = kept
        shown = {k: v for k, v in kept.items() if k not in ("curve", "outer")}
        print(seed, name, shown, flush=True)

    for name, tried in found["grid"].items():
        for kind, (fall, rate) in tried["best"].items():
            note(f"{name}, best {kind}", rival(name, fall), rate, rate=f"{fall} {rate}")
    h = begun(first)
    note("not learned", RULE.make, h)
    found["bias"] = bias(rows, h, third)
    print(seed, found["bias"], flush=True)
    for way, rate in chosen.items():
        began = time.perf_counter()
        h, values = learn(rows, rate, first, way=way, moves=moves(way, outer))
        values = np.asarray(values)
        spent = time.perf_counter() - began
        ten = values[: len(values) // 10 * 10].reshape(10, -1).mean(1).tolist()
        note(way, RULE.make, h, seconds=spent, outer=ten)
    return found


COLUMNS = {
    "mean": "mean loss of 200 steps", "loss": "test loss", "right": "test accuracy",
    "long": "after 1,000 steps", "wide": "64 units",
}  # fmt: skip


def table(runs: list[dict]) -> str:
    head = [*COLUMNS.values(), "along the exact slope", "cosine with it"]
    lines = [f"| optimiser | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for name in runs[0]["ways"]:
        rows = [run["ways"][name] for run in runs]
        cells = [digits.interval([row[c] for row in rows]) for c in COLUMNS]
        cells = [f"{c} %" if i > 1 else c for i, c in enumerate(cells)]
        slope = [run["bias"][name] for run in runs if name in run["bias"]]
        cells.append(digits.interval([s["along"][0] for s in slope]) if slope else "")
        cells.append(digits.interval([s["cosine"] for s in slope]) if slope else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("choose", "learn", "table"))
    parser.add_argument("--seeds", type=int, default=3, choices=digits.T95)
    parser.add_argument("--outer", type=int, default=OUTER, help="windows")
    options = parser.parse_args()
    if options.part == "choose":
        choose(RESULT, options.outer // 3)
    runs = parts(RESULT, "learn")
    if options.part == "learn":
        tried = parts(RESULT, "choose").values()
        chosen = {
            way: min((t for t in tried if t["way"] == way), key=lambda t: t["mean"])
            for way in WAYS
        }
        for seed in range(len(runs), options.seeds):
            chosen_rates = {way: best["rate"] for way, best in chosen.items()}
            runs = [*runs, measure(seed, chosen_rates, options.outer)]
            digits.keep(RESULT, "learn", {"outer": options.outer, "runs": runs})
    if runs:
        common.write_between(PAGE, BEGIN, END, table(runs))
        print(table(runs))


if __name__ == "__main__":
    main()
