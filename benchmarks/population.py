"""Sixteen runs, or one program that trains sixteen: 4 seeds times 4 learning rates.

    python -m benchmarks.population [--fast] [--out FILE]
    python -m benchmarks.population --table                    # the table of the README

The population's members are spread over one device a core (`member_mesh`); the same
program on a single device is timed beside it. The single runs share one compiled program
that takes the rate and the seed as arguments, so only its first call compiles: the fastest
way of sixteen runs one after the other. All are timed in turn; compilation is timed apart.
"From nothing" is what a user waits who has no compiled program: one compilation and the
population, or sixteen runs that each compile, as sixteen processes or sixteen optimisers
with their rates written in do. The largest difference of a parameter between a member and
its single run is measured, in units of the largest parameter, after 10 steps and at the
end: rounding grows over thousands of steps, in float64 there is none to speak of (tests).
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

import jaxmeta as jm
from benchmarks import common
from benchmarks.common import write_between

HERE = Path(__file__).parent
RESULT = HERE / "results" / "population.json"
README = HERE / "README.md"
BEGIN, END = "<!-- population: begin -->", "<!-- population: end -->"

RATES = np.array([3e-4, 1e-3, 3e-3, 1e-2], np.float32)
SEEDS = 4


def point(key):
    """One point of a sine, for plain regression."""
    x = jax.random.uniform(key, (1,), minval=-5, maxval=5)
    return jm.Batch(x, jnp.sin(x))


def regression(rate):
    model = jm.models.mlp(1, hidden=(40, 40))
    objective = jm.transfer.supervised(model, criterion=jm.criteria.regression)
    return jm.make_trainer(objective, optax.adam(rate))


def maml(rate):
    model = jm.models.mlp(1, hidden=(40, 40))
    learner = jm.maml(model, optax.sgd(0.01), steps=1, criterion=jm.criteria.regression)
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


def programs(name, sizes):
    """The three rivals as functions of nothing: name -> (what to run, compile seconds)."""
    _, make, sample, _ = PROBLEMS[name]
    sample, mesh = Partial(sample), jm.train.member_mesh()
    keys = jax.random.split(jax.random.key(0), SEEDS)

    @jax.jit
    def population(sample, rates, keys):
        return jm.train.fit_population(make, rates, sample, keys, mesh=mesh, **sizes)

    @jax.jit
    def one_device(sample, rates, keys):
        return jm.train.fit_population(make, rates, sample, keys, **sizes)

    @jax.jit
    def single(sample, rate, key):
        return jm.train.fit_member(make, rate, sample, key, **sizes)

    def one_by_one(before=lambda: None):
        found = []
        for rate in RATES:
            for key in keys:
                before()
                found.append(jax.block_until_ready(single(sample, rate, key)))
        return found

    def compiling(program, *args):
        return timed(lambda: program.lower(sample, *args).compile() and None)[1]

    return {
        "population": (
            lambda: population(sample, RATES, keys),
            compiling(population, RATES, keys),
        ),
        "one_device": (
            lambda: one_device(sample, RATES, keys),
            compiling(one_device, RATES, keys),
        ),
        "single": (one_by_one, compiling(single, RATES[0], keys[0])),
    }


def apart(rivals):
    """The largest difference of a parameter, as a share of the largest in its leaf."""
    members = rivals["population"][0]()[0].meta.params
    alone = [state.meta.params for state, _ in rivals["single"][0]()]
    alone = jax.tree.map(lambda *x: jnp.stack(x), *alone)
    pairs = zip(jax.tree.leaves(members), jax.tree.leaves(alone), strict=True)
    return max(
        float(jnp.abs(a.reshape(b.shape) - b).max() / jnp.abs(b).max())
        for a, b in pairs
    )


def measure(name, repeats, fast):
    text, _, _, sizes = PROBLEMS[name]
    sizes = dict(sizes, steps=20) if fast else sizes
    early = apart(programs(name, dict(sizes, steps=10)))
    rivals = programs(name, sizes)
    late = apart(rivals)
    rivals["one_device"][0]()
    times = {rival: [] for rival in rivals}
    for _ in range(repeats):
        for rival, (run, _) in rivals.items():
            times[rival].append(timed(run)[1])
    middle = {rival: common.median(found) for rival, found in times.items()}
    jax.clear_caches()
    fresh = {
        "population": timed(rivals["population"][0])[1],
        "single": timed(lambda: rivals["single"][0](jax.clear_caches))[1],
    }
    row = dict(
        problem=text, members=16, **sizes, devices=jax.device_count(), seconds=times,
        ratio=middle["population"] / middle["single"],
        ratio_one_device=middle["one_device"] / middle["single"],
        compile_seconds={rival: seconds for rival, (_, seconds) in rivals.items()},
        from_nothing_seconds=fresh,
        ratio_from_nothing=fresh["population"] / fresh["single"],
        largest_difference_after_10_steps=early, largest_difference=late,
    )  # fmt: skip
    print(
        name, json.dumps({k: v for k, v in row.items() if k != "problem"}), flush=True
    )
    return row


def table():
    if not RESULT.exists():
        return "Not measured yet."
    result = json.loads(RESULT.read_text())
    lines = [
        "| problem | steps | 16 runs | one program on a device a core | of 16 runs "
        "| one program on one device | of 16 runs | compile: one device, run "
        "| from nothing: program, 16 runs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]

    def both(found, *names):
        known = [found[name] for name in names if name in found]
        if len(known) < len(names):
            return "not measured"
        return ", ".join(f"{np.median(x):.2f} s" for x in known)

    for row in result["rows"].values():
        seconds, ratio = row["seconds"], row.get("ratio")
        lines.append(
            f"| {row['problem']} | {row['steps']} | {both(seconds, 'single')} | "
            f"{both(seconds, 'population')} | {f'{ratio:.2f}' if ratio else ''} | "
            f"{both(seconds, 'one_device')} | {row['ratio_one_device']:.2f} | "
            f"{both(row['compile_seconds'], 'one_device', 'single')} | "
            f"{both(row.get('from_nothing_seconds', {}), 'population', 'single')} |"
        )
    machine = result["machine"]
    return "\n".join(
        [*lines, "", f"{machine['processor']}, {machine['cores']} cores, "
         f"jax {machine['jax']}, load before {machine['load_before']}."]
    )  # fmt: skip


def write_table():
    write_between(README, BEGIN, END, table())


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
    jax.config.update("jax_num_cpu_devices", common.cores())
    machine = common.machine()
    rows = {name: measure(name, args.repeats, args.fast) for name in PROBLEMS}
    if args.fast and args.out == RESULT:
        return None
    result = dict(command="python -m benchmarks.population", machine=machine, rows=rows)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return write_table() if args.out == RESULT else None


if __name__ == "__main__":
    main()
