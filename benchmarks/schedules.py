"""A learning rate for each step of a training, by hypergradient.

    JAXMETA_DATA=DIR python -m benchmarks.schedules [--seeds 3]
    python -m benchmarks.schedules --table

Maclaurin et al. 2015 (arXiv:1502.03492), section 3.1, in small, on MNIST: 50 steps of SGD
with momentum 0.9, 50 digits each, an MLP of one layer.

    phi_{k+1} = phi_k - exp(h_k) m_k,     min_h  E L(phi_50(h); V)

`jm.argmin` with its default, `unrolled()`, through all 50 steps; every hypergradient is of a
new start, new batches and 500 new validation digits. One rate for all steps, a line of its
logarithm, and one a step are learned so. Beside them: the best of a grid by validation
loss, constant and falling by a cosine. Each is judged by eight trainings that no hypergradient
has seen; test digits are looked at once, by the runs of the table.
"""

import argparse
import functools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import jaxmeta as jm
from benchmarks import common, digits

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "schedules.json", HERE / "README.md"
BEGIN, END = "<!-- schedules: begin -->", "<!-- schedules: end -->"
TRAIN, VALID, HELD, BATCH, STEPS = 10_000, 5_000, 500, 50, 50
OUTER, RATE, START, TRIALS = 150, 0.05, float(np.log(0.1)), 8
GRID = (0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
NET = jm.models.mlp(10, hidden=(50,))

# name -> the numbers to begin with, and the logarithm of every step's rate they give
AT = jnp.arange(STEPS) / STEPS
LEARNED = {
    "one rate": ([START], lambda h: jnp.broadcast_to(h, (STEPS,))),
    "a line": ([START, 0.0], lambda h: h[0] + h[1] * AT),
    "one a step": ([START] * STEPS, lambda h: h),
}
OF_GRID = {
    "constant, of a grid": lambda rate: jnp.full(STEPS, jnp.log(rate)),
    "cosine, of a grid": lambda rate: jnp.log(rate * (1 + jnp.cos(jnp.pi * AT)) / 2),
}


def errors(params, rows):
    logits, _ = NET.apply(jm.Meta(params), rows[0])
    each = optax.softmax_cross_entropy_with_integer_labels(logits, rows[1])
    return jnp.mean(each), 100 * jnp.mean(jnp.argmax(logits, -1) == rows[1])


def solver(rates) -> optax.GradientTransformation:
    """SGD with momentum whose step k has the rate exp(rates[k])."""
    falling = optax.scale_by_schedule(lambda k: -jnp.exp(rates[k]))
    return optax.chain(optax.trace(0.9), falling)


def some(rows, key, size: int):
    chosen = jax.random.randint(key, (size,), 0, len(rows[1]))
    return rows[0][chosen], rows[1][chosen]


def trained(rates, rows, key):
    """The parameters after all steps, from a start and by batches of this key."""
    first, key = jax.random.split(key)
    params = NET.init(first, rows[0][:1]).params

    def batch(k):
        return some(rows, jax.random.fold_in(key, k), BATCH)

    loss = lambda params, rates, batch: errors(params, batch)[0]  # noqa: E731
    found = jm.argmin(loss, params, rates, solver, steps=len(rates), batches=batch)
    return found.params


@functools.partial(jax.jit, static_argnames=("spread", "steps"))
def learn(h, rows, valid, key, *, spread: Callable, steps: int = OUTER):
    """The numbers after `steps` hypergradients, each with its own training."""
    outer = optax.adam(RATE)

    def loss(h, key):
        params = trained(spread(h), rows, key)
        return errors(params, some(valid, jax.random.fold_in(key, STEPS), HELD))[0]

    def step(carry, key):
        h, moments = carry
        updates, moments = outer.update(jax.grad(loss)(h, key), moments)
        return (optax.apply_updates(h, updates), moments), None

    return lax.scan(step, (h, outer.init(h)), jax.random.split(key, steps))[0][0]


@jax.jit
def judged(rates, rows, of, key):
    """Cross-entropy and accuracy on `of`, means over trainings."""
    keys = jax.random.split(key, TRIALS)
    one = lambda key: errors(trained(rates, rows, key), of)  # noqa: E731
    return jax.tree.map(jnp.mean, lax.map(one, keys))


def split(seed: int):
    """Digits to train on, digits for validation, digits of the test."""
    x, y = digits.read("train")
    chosen = np.random.default_rng(seed).permutation(len(y))[: TRAIN + VALID]
    x, y = jnp.asarray(x[chosen]), jnp.asarray(y[chosen].astype(int))
    test = digits.read("t10k")
    test = jnp.asarray(test[0]), jnp.asarray(test[1].astype(int))
    return (x[:TRAIN], y[:TRAIN]), (x[TRAIN:], y[TRAIN:]), test


def measure(seed: int) -> dict:
    rows, valid, test = split(seed)
    keys = jax.random.split(jax.random.key(seed), 3)
    found = {"seed": seed, "ways": {}}

    def note(name, rates, **facts):
        parts = {"validation": valid, "test": test}
        scores = {
            part: [float(x) for x in judged(rates, rows, of, keys[2])]
            for part, of in parts.items()
        }
        rates = np.exp(np.asarray(rates)).round(4).tolist()
        found["ways"][name] = {**scores, **facts, "rates": rates}
        print(seed, name, scores, facts, flush=True)

    for name, spread in OF_GRID.items():
        tried = {r: float(judged(spread(r), rows, valid, keys[0])[0]) for r in GRID}
        best = min(tried, key=tried.get)
        note(name, spread(best), tried=tried)
    for name, (start, spread) in LEARNED.items():
        began = time.perf_counter()
        h = learn(jnp.array(start), rows, valid, keys[1], spread=spread)
        h.block_until_ready()
        note(name, spread(h), seconds=time.perf_counter() - began)
    return found


def table(found: dict) -> str:
    shown = (0, 2, 9, 24, 46, 49)
    steps = " | ".join(f"step {k + 1}" for k in shown)
    lines = [
        f"| rates | validation loss | test loss | test accuracy | {steps} |",
        "|---" * (4 + len(shown)) + "|",
    ]
    for name in found["runs"][0]["ways"]:
        rows = [run["ways"][name] for run in found["runs"]]
        losses = (
            digits.interval([r[p][0] for r in rows]) for p in ("validation", "test")
        )
        right = digits.interval([r["test"][1] for r in rows])
        means = (statistics.mean(r["rates"][k] for r in rows) for k in shown)
        cells = [*losses, f"{right} %", *(f"{x:.2g}" for x in means)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, choices=digits.T95)
    parser.add_argument("--table", action="store_true", help="writes it, runs nothing")
    options = parser.parse_args()
    if not options.table:
        found = {"machine": common.machine()}
        found["runs"] = [measure(seed) for seed in range(options.seeds)]
        RESULT.write_text(json.dumps(found, indent=1) + "\n")
    found = json.loads(RESULT.read_text())
    common.write_between(PAGE, BEGIN, END, table(found))
    print(table(found))


if __name__ == "__main__":
    main()
