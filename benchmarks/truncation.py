"""What truncated unrolls do to a hyper-parameter, and persistent evolution does not.

    python -m benchmarks.truncation [--seeds 3]       # writes results/truncation.json

Both problems are those of the literature, drawn anew here:

balance: Tallec, Ollivier 2017 (arXiv:1705.08209), also in Vicol et al. 2021
(arXiv:2112.13835). s <- A s + theta b in 23 dimensions, s moves with the first ten entries
of theta b at once and with the thirteen others, of the other sign, only later: a short
window sees the wrong sign. Loss: (s_1 - 1)^2 / 2. Best theta: where s_1 settles at 1.

rate: Wu et al. 2018, Short-horizon bias (arXiv:1803.02021). SGD on a noisy quadratic, with a
learning rate exp(a + b t / T) whose a and b are learned. A short window wants the noise
gone now, and is not there when the flat directions would have been.

Each step of the outer optimiser (Adam) takes the slope of the mean loss of T steps: exact,
in windows that start anew from a constant (truncated backpropagation, or evolution
strategies), or by `persistent_evolution` with the same windows. All gradients are values
of `jaxmeta.gradients`.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

import jaxmeta as jm
from benchmarks import common, digits
from jaxmeta.gradients import evolution, persistent_evolution, unrolled

RESULT = Path(__file__).parent / "results" / "truncation.json"
WINDOW, DRAWS = 10, 400


class Problem(NamedTuple):
    """An inner problem: what a step does to a state, and what it loses.

    Attributes:
      start: phi_0.
      hypers: h to begin with.
      loss: `(phi, h, batch) -> scalar`.
      solver: `h -> optax transform`.
      batch: `(key, step) -> batch`.
      steps: T.
      outer: rate of Adam, and its steps.
      sigma: width of the smoothing.
    """

    start: jax.Array
    hypers: jax.Array
    loss: Callable
    solver: Callable
    batch: Callable
    steps: int
    outer: tuple[float, int]
    sigma: float


def balance(size: int = 23, positive: int = 10, steps: int = 200) -> Problem:
    """The system is a solver that looks at no gradient."""
    a = 0.5 * (np.eye(size) + np.eye(size, k=1))
    b = np.where(np.arange(size) < positive, 1.0, -1.0)

    def solver(theta):
        def update(grads, state, s):
            return a @ s + theta[0] * b - s, state

        return optax.GradientTransformation(lambda s: (), update)

    def loss(s, theta, batch):
        return 0.5 * (s[0] - 1) ** 2

    start, theta = jnp.zeros(size), jnp.array([0.5])
    nothing = lambda key, step: ()  # noqa: E731
    return Problem(start, theta, loss, solver, nothing, steps, (0.01, 400), 0.1)


def rate(size: int = 20, steps: int = 500) -> Problem:
    """Curvatures from 1 to 0.01; the minimum is drawn anew at each step."""
    curvature = np.logspace(0, -2, size)

    def solver(h):
        def init(w):
            return jnp.zeros((), w.dtype)

        def update(grads, step, w):
            return -jnp.exp(h[0] + h[1] * step / steps) * grads, step + 1

        return optax.GradientTransformation(init, update)

    def loss(w, h, noise):
        return 0.5 * jnp.sum(curvature * (w - noise) ** 2)

    def batch(key, step):
        return 2 * jax.random.normal(jax.random.fold_in(key, step), (size,))

    start, h = 3 * jnp.ones(size), jnp.log(jnp.array([0.1, 1.0]))
    return Problem(start, h, loss, solver, batch, steps, (0.05, 300), 0.05)


PROBLEMS = {"balance": balance, "rate": rate}


def mean_loss(problem: Problem, gradient, window: int) -> Callable[..., jax.Array]:
    """`(h, key) -> mean of the losses`; windows that are shorter start from constants."""

    def run(h, key):
        drawing, key = jax.random.split(key)

        def one(carry, key):
            params, state, step = carry
            found = jm.argmin(
                problem.loss, params, h, problem.solver, steps=window, state=state,
                batches=lambda k: problem.batch(drawing, step + k), key=key,
                gradient=gradient,
            )  # fmt: skip
            ends = lax.stop_gradient((found.params, found.state))
            return (*ends, step + window), found.losses.sum()

        count = problem.steps // window
        begin = (problem.start, problem.solver(h).init(problem.start), 0)
        _, losses = lax.scan(one, begin, jax.random.split(key, count))
        return losses.sum() / problem.steps

    return run


def ways(problem: Problem) -> dict[str, Callable[..., jax.Array]]:
    """Name -> mean loss, whose derivative is that way's."""
    size = {"sigma": problem.sigma, "pairs": 8}
    persistent = persistent_evolution(**size, window=WINDOW)
    return {
        "exact": mean_loss(problem, unrolled(), problem.steps),
        "truncated": mean_loss(problem, unrolled(), WINDOW),
        "truncated evolution": mean_loss(problem, evolution(**size), WINDOW),
        "persistent evolution": mean_loss(problem, persistent, problem.steps),
        "evolution": mean_loss(problem, evolution(**size), problem.steps),
    }


def bias(loss, h, draws: int = DRAWS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the slope at h: its mean, standard error, and the deviation of one draw."""
    keys = jax.random.split(jax.random.key(1), draws)
    found = np.asarray(jax.jit(lambda: lax.map(lambda k: jax.grad(loss)(h, k), keys))())
    spread = found.std(0, ddof=1)
    return found.mean(0), spread / draws**0.5, spread


def learn(problem: Problem, loss, seed: int) -> jax.Array:
    """Where Adam goes by these slopes."""
    size, steps = problem.outer
    outer = optax.adam(size)

    def step(carry, key):
        h, moments = carry
        updates, moments = outer.update(jax.grad(loss)(h, key), moments)
        return (optax.apply_updates(h, updates), moments), None

    first = (problem.hypers, outer.init(problem.hypers))
    keys = jax.random.split(jax.random.key(seed), steps)
    return jax.jit(lambda: lax.scan(step, first, keys))()[0][0]


def measure(name: str, seeds: int) -> dict[str, Any]:
    problem = PROBLEMS[name]()
    table = ways(problem)
    judge = jax.jit(jax.vmap(table["exact"], (None, 0)))
    fresh = jax.random.split(jax.random.key(99), 64)
    before = float(judge(problem.hypers, fresh).mean())
    found = {}
    for way, loss in table.items():
        mean, error, spread = bias(loss, problem.hypers)
        ends = [learn(problem, loss, seed) for seed in range(seeds)]
        found[way] = {
            "slope": mean.tolist(),
            "standard_error": error.tolist(),
            "deviation_of_one": spread.tolist(),
            "hypers": [h.tolist() for h in ends],
            "losses": [float(judge(h, fresh).mean()) for h in ends],
        }
        print(name, way, found[way], flush=True)
    start = {"hypers": problem.hypers.tolist(), "loss": before}
    return {"steps": problem.steps, "window": WINDOW, "start": start, "ways": found}


def table(found: dict) -> str:
    lines = [
        "| problem | slope by | slope at the start | deviation of one | learned | mean loss |",
        "|---|---|---|---|---|---|",
    ]
    for name, problem in found["problems"].items():
        for way, row in problem["ways"].items():
            slopes = [
                f"{m:.3g}" + (f" ± {1.96 * e:.1g}" if e > 1e-6 * abs(m) else "")
                for m, e in zip(row["slope"], row["standard_error"], strict=True)
            ]
            spread = [f"{x:.2g}" for x in row["deviation_of_one"]]
            hypers = [
                f"{statistics.mean(h):.3g}" for h in zip(*row["hypers"], strict=True)
            ]
            lines.append(
                f"| {name} | {way} | {', '.join(slopes)} | {', '.join(spread)} | "
                f"{', '.join(hypers)} | {digits.interval(row['losses'])} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, choices=digits.T95)
    options = parser.parse_args()
    found = {
        "machine": common.machine(),
        "problems": {name: measure(name, options.seeds) for name in PROBLEMS},
    }
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    print(table(found))


if __name__ == "__main__":
    main()
