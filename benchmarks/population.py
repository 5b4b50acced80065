"""Sixteen runs, or one program that trains sixteen: 4 seeds times 4 learning rates.

    python benchmarks/population.py [--fast] [--out FILE]
    python benchmarks/population.py --table                    # the table of the README

The single runs share one compiled program that takes the rate and the seed as arguments, so
only its first call compiles: the fastest way of sixteen runs one after the other. Both are
timed in turn; compilation is timed apart. "From nothing" is what a user waits who has no
compiled program: one compilation and the population, or sixteen runs that each compile, as
sixteen processes or sixteen optimisers with their rates written in do. The largest
difference of a parameter between a member and its single run is measured, in units of the
largest parameter.
"""

import argparse
import json
import time
from pathlib import Path

import common
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

import jaxmeta as jm

HERE = Path(__file__).parent
RESULT = HERE / "results" / "population.json"
README = HERE / "README.md"
BEGIN, END = "<!-- population: begin -->", "<!-- population: end -->"

RATES = jnp.array([3e-4, 1e-3, 3e-3, 1e-2])
KEYS = jax.random.split(jax.random.key(0), 4)


def point(key):
    """One point of a sine, for plain regression."""
    x = jax.random.uniform(key, (1,), minval=-5, maxval=5)
    return jm.Batch(x, jnp.sin(x))


def regression(rate):
    model = jm.models.mlp(1, hidden=(40, 40))
    objective = jm.transfer.supervised(model, task_loss=jm.losses.mse)
    return jm.make_trainer(objective, optax.adam(rate))


def maml(rate):
    model = jm.models.mlp(1, hidden=(40, 40))
    learner = jm.maml(model, optax.sgd(0.01), steps=1, task_loss=jm.losses.mse)
    return jm.make_trainer(jm.episodic(learner), optax.adam(rate))


PROBLEMS = {
    "regression": (
        "regression, MLP 40-40, 16 points a step", regression, point,
        dict(steps=5000, batch=16),
    ),
    "maml": (
        "MAML on sinusoids, MLP 40-40, 10 shots, 4 tasks a step", maml,
        jm.tasks.sinusoid(), dict(steps=2000, batch=4),
    ),
}  # fmt: skip


def timed(function):
    begin = time.perf_counter()
    out = jax.block_until_ready(function())
    return out, time.perf_counter() - begin


def measure(name, repeats, fast):
    text, make, sample, sizes = PROBLEMS[name]
    sample = Partial(sample)
    sizes = dict(sizes, steps=20) if fast else sizes

    @jax.jit
    def population(sample, rates, keys):
        return jm.train.fit_population(make, rates, sample, keys, **sizes)

    @jax.jit
    def single(sample, rate, key):
        return jm.train.fit_member(make, rate, sample, key, **sizes)

    def together():
        return population(sample, RATES, KEYS)

    def one_by_one():
        return [
            jax.block_until_ready(single(sample, rate, key))
            for rate in RATES for key in KEYS
        ]  # fmt: skip

    begin = time.perf_counter()
    population.lower(sample, RATES, KEYS).compile()
    compile_population = time.perf_counter() - begin
    begin = time.perf_counter()
    single.lower(sample, RATES[0], KEYS[0]).compile()
    compile_single = time.perf_counter() - begin
    (members, _), _ = timed(together)
    alone, _ = timed(one_by_one)
    alone = jax.tree.map(lambda *x: jnp.stack(x), *[s.meta.params for s, _ in alone])
    apart = [
        float(jnp.abs(a.reshape(b.shape) - b).max() / jnp.abs(b).max())
        for a, b in zip(
            *map(jax.tree.leaves, (members.meta.params, alone)), strict=True
        )
    ]
    times = {"population": [], "single": []}
    for _ in range(repeats):
        times["population"].append(timed(together)[1])
        times["single"].append(timed(one_by_one)[1])
    one, many = (common.median(times[k]) for k in ("population", "single"))
    jax.clear_caches()
    fresh = {"population": timed(together)[1], "single": 0.0}
    for rate in RATES:
        for key in KEYS:
            jax.clear_caches()
            fresh["single"] += timed(lambda: single(sample, rate, key))[1]  # noqa: B023
    row = dict(
        problem=text, members=16, **sizes, seconds=times, ratio=one / many,
        compile_seconds=dict(population=compile_population, single=compile_single),
        from_nothing_seconds=fresh, ratio_from_nothing=fresh["population"] / fresh["single"],
        largest_difference=max(apart),
    )  # fmt: skip
    print(
        f"{name:12} population {one:.2f} s, 16 runs {many:.2f} s, ratio {one / many:.3f}, "
        f"compile {compile_population:.1f} and {compile_single:.1f} s, "
        f"from nothing {fresh['population']:.1f} and {fresh['single']:.1f} s, "
        f"difference {max(apart):.1e}",
        flush=True,
    )
    return row


def table():
    if not RESULT.exists():
        return "Not measured yet."
    result = json.loads(RESULT.read_text())
    lines = [
        "| problem | steps | one program of 16 | 16 runs | ratio | compile, each "
        "| from nothing: population, 16 runs | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"].values():
        one, many = (np.median(row["seconds"][k]) for k in ("population", "single"))
        compiled = row["compile_seconds"]
        lines.append(
            f"| {row['problem']} | {row['steps']} | {one:.2f} s | {many:.2f} s | "
            f"{row['ratio']:.2f} | {compiled['population']:.1f} s, "
            f"{compiled['single']:.1f} s | {row['from_nothing_seconds']['population']:.1f} s, "
            f"{row['from_nothing_seconds']['single']:.1f} s | "
            f"{row['ratio_from_nothing']:.2f} |"
        )
    machine = result["machine"]
    return "\n".join(
        [*lines, "", f"{machine['processor']}, {machine['cores']} cores, "
         f"jax {machine['jax']}, load before {machine['load_before']}."]
    )  # fmt: skip


def write_table():
    before, rest = README.read_text().split(BEGIN)
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--fast", action="store_true", help="a smoke test, no result")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.table:
        return write_table()
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are real
    machine = common.machine()
    rows = {name: measure(name, args.repeats, args.fast) for name in PROBLEMS}
    if args.fast and args.out == RESULT:
        return None
    result = dict(command="python benchmarks/population.py", machine=machine, rows=rows)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return write_table() if args.out == RESULT else None


if __name__ == "__main__":
    main()
