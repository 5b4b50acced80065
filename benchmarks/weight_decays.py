"""One strength of weight decay for each weight, 7,840 hyper-parameters, by hypergradient.

    JAXMETA_DATA=DIR python -m benchmarks.weight_decays [--seeds 3]

After Lorraine et al. 2020 (arXiv:1911.02590), on MNIST with a linear model and few digits:

    w*(h) = argmin_w  L(w; T) + 1/2 sum_i exp(h_i) w_i^2,     min_h  L(w*(h); V)

`jm.argmin` with `implicit(solver=cg(steps=20))`; the inner solver starts where it stopped.
200 digits to train on, as many for validation, 10,000 to test. Beside it: one strength
for all weights, by hypergradient and the best of a grid by validation; one for each
input; all 400 digits with the strength of the grid. Test digits are looked at once, by the
runs of the table.
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
from benchmarks import common, digits
from benchmarks.hyper_cleaning import errors, zeros
from jaxmeta.gradients import cg, first_order, implicit

RESULT = Path(__file__).parent / "results" / "weight_decays.json"
TRAIN, VALID, START = 200, 200, -5.0
OUTER, INNER, FINAL, RATE = 150, 20, 1500, 0.05
GRID = tuple(range(-10, 2))
SHAPES = {"one": (), "an input": (784, 1), "a weight": (784, 10)}
SOLVER = optax.sgd(0.1, momentum=0.9, nesterov=True)


def split(seed: int):
    """Training and validation digits, and those of the test."""
    x, y = digits.read("train")
    chosen = np.random.default_rng(seed).permutation(len(y))[: TRAIN + VALID]
    x, y = jnp.asarray(x[chosen]), jnp.asarray(y[chosen].astype(int))
    test = digits.read("t10k")
    return (x[:TRAIN], y[:TRAIN]), (x[TRAIN:], y[TRAIN:]), tuple(map(jnp.asarray, test))


def decayed(w, h, rows):
    penalty = jnp.sum(jnp.exp(h) * w["kernel"] ** 2) / 2
    return jnp.mean(errors(w, *rows)) + penalty


@jax.jit
def fitted(h, rows):
    """The model that these strengths give, from zero."""
    loss = lambda w, h: decayed(w, h, rows)  # noqa: E731
    found = jm.argmin(loss, zeros(), h, SOLVER, steps=FINAL, gradient=first_order)
    return found.params


@jax.jit
def judged(w, rows):
    """Cross-entropy, and accuracy in percent."""
    right = jnp.argmax(rows[0] @ w["kernel"] + w["bias"], -1) == rows[1]
    return jnp.mean(errors(w, *rows)), 100 * jnp.mean(right)


def learn(shape, train, valid, steps=OUTER):
    """Strengths after `steps` hypergradients, and the gap and residual of the last."""
    outer, gradient = optax.adam(RATE), implicit(solver=cg(steps=20))

    def loss(h, w, state, watch):
        found = jm.argmin(
            lambda w, h: decayed(w, h, train), w, h, SOLVER,
            steps=INNER, state=state, gradient=gradient, watch=watch,
        )  # fmt: skip
        return jnp.mean(errors(found.params, *valid)), found

    def step(carry, _):
        h, moments, w, state = carry
        slopes = jax.value_and_grad(loss, argnums=(0, 3), has_aux=True)
        (_, found), (grads, residual) = slopes(h, w, state, 0.0)
        updates, moments = outer.update(grads, moments)
        h = optax.apply_updates(h, updates)
        return (h, moments, found.params, found.state), (found.report.norm, residual)

    @jax.jit
    def run():
        h, w = jnp.full(shape, START), fitted(jnp.full(shape, START), train)
        first = (h, outer.init(h), w, SOLVER.init(w))
        return jax.lax.scan(step, first, length=steps)

    (h, *_), (norms, residuals) = run()
    return h, {"slope_left": float(norms[-1]), "residual": float(residuals[-1])}


def measure(seed: int) -> dict:
    train, valid, test = split(seed)
    found = {"seed": seed, "test": {}, "validation": {}, "report": {}, "seconds": {}}

    def note(name, w):
        found["test"][name] = [float(x) for x in judged(w, test)]
        found["validation"][name] = [float(x) for x in judged(w, valid)]

    def of_grid(h):
        return float(judged(fitted(jnp.float32(h), train), valid)[0])

    best = jnp.float32(min(GRID, key=of_grid))
    found["grid"] = float(best)
    note("one, of a grid", fitted(best, train))
    both = tuple(jnp.concatenate(x) for x in zip(train, valid, strict=True))
    note("one, of a grid, all digits", fitted(best, both))
    for name, shape in SHAPES.items():
        began = time.perf_counter()
        h, found["report"][name] = learn(shape, train, valid)
        found["seconds"][name] = time.perf_counter() - began
        note(name, fitted(h, train))
        # the strengths are kept, and the digits that chose them are trained on, too
        note(f"{name}, all digits", fitted(h, both))
    return found


def table(found: dict) -> str:
    head = "| strength | validation loss | test loss | test accuracy |"
    lines = [head, "|---|---|---|---|"]
    for name in found["runs"][0]["test"]:
        tests = list(zip(*(run["test"][name] for run in found["runs"]), strict=True))
        seen = [run["validation"][name][0] for run in found["runs"]]
        cells = [digits.interval(seen), *map(digits.interval, tests)]
        lines.append(f"| {name} | {' | '.join(cells)} % |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, choices=digits.T95)
    options = parser.parse_args()
    machine = common.machine()
    runs = []
    for seed in range(options.seeds):
        runs.append(measure(seed))
        print(runs[-1], flush=True)
    found = {"machine": machine, "runs": runs}
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
